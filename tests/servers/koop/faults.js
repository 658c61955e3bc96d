// Faults, and a record of the calls.
//
//   POST /faults {"kind": "html", "times": 1}        the next call
//   … {"share": 0.05, "seed": 1}                     of all calls, random but reproducible
//   … {"on": "-118.8"}                               only calls with this text in the URL or body
//   … {"retryAfter": "7", "delayMs": 20}             for http429 and http503; of every call
//   … {"value": 7}                                   an object id, for choke, withheld and deleted
//   POST /layer {"lastEditDate": 1700000000000}      the layer was edited
//   GET /calls                                       since the last POST /faults
//   GET /most_in_flight
const express = require('express')
const { rewrite } = require('./arcgis')

// These reply instead of the server.
const answers = {
  http500: response => response.status(500).send('Internal Server Error'),
  http429: (response, { retryAfter = '7' }) => response.status(429).set('Retry-After', retryAfter).send('Too Many Requests'),
  http503: (response, { retryAfter = '1' }) => response.status(503).set('Retry-After', retryAfter).send('Service Unavailable'),
  error_body: response => response.json({ error: { code: 500, message: 'Error performing query operation', details: [] } }),
  refused: response => response.json({ error: { code: 400, message: 'Unable to complete operation.', details: [] } }),
  token: response => response.json({ error: { code: 499, message: 'Token Required', details: [] } }),
  html: response => response.type('json').send('<html><body>Down for maintenance</body></html>'),
  firewall: response => response.send('<html><title>Request Rejected</title></html>'),
  truncated: response => response.type('json').send('{"features": [{"attributes": {"OBJ'),
  hang: () => {},
  close: response => response.socket.destroy(),
  reset: response => response.socket.resetAndDestroy(),
  nothing: response => response.json({ features: [] }),
  empty_page: response => response.json({ features: [], exceededTransferLimit: true })
}

// These change how the server reads a query, …
const misunderstandings = {
  ignore_count: request => forget(request, 'returnCountOnly', 'returnIdsOnly'),
  no_ids: request => forget(request, 'returnIdsOnly'),
  // ArcGIS 10.0 and older: the server ignores parameters that it does not know.
  old: request => forget(request, 'resultOffset', 'orderByFields', 'outStatistics'),
  ancient: request => forget(request, 'resultOffset', 'orderByFields', 'outStatistics', 'returnIdsOnly', 'returnCountOnly'),
  unstable_order: request => {
    forget(request, 'orderByFields')
    request.unstableOrder = true
  }
}

// … and these its responses. `value` is an object id.
const without = (page, value) => ({ ...page, features: page.features.filter(({ attributes }) => attributes.OBJECTID !== value) })
const distortions = {
  // A row with unreadable geometry fails every page that contains it.
  choke: (page, { value }) => page.features.some(({ attributes }) => attributes.OBJECTID === value)
    ? { error: { code: 400, message: 'Error performing query operation', details: [] } }
    : page,
  withheld: (page, { value }) => without(page, value),
  deleted: (page, { value }) => without(page, value),
  cut_page: ({ exceededTransferLimit, ...page }) => ({ ...page, features: page.features.slice(0, Math.ceil(page.features.length / 2)) }),
  repeated_ids: page => ({ ...page, features: [...page.features.slice(0, -1), page.features[0]] }),
  old: ({ exceededTransferLimit, ...page }) => page,
  ancient: ({ exceededTransferLimit, ...page }) => page
}

module.exports = function faultSwitch (layer) {
  let fault = {}
  let random = () => 0
  let calls = []
  let inFlight = 0
  let mostInFlight = 0

  function strikes (request) {
    const { kind, times = Infinity, share = 1, on = '' } = fault
    if (!kind || times <= 0) return false
    const text = decodeURIComponent(`${request.url}&${request.rawBody ?? ''}`.replaceAll('+', ' '))
    if (!text.includes(on) || random() >= share) return false
    fault.times = times - 1
    return true
  }

  function answer (request, response, next) {
    if (!strikes(request)) return next()
    const { kind } = fault
    const asked = { ...request.body, ...request.query }
    if (answers[kind]) return answers[kind](response, fault)
    if (kind === 'no_paging') {
      if (!asked.resultOffset && !asked.resultRecordCount) return next()
      return response.json({ error: { code: 400, message: '', details: ['Pagination is not supported.'] } })
    }
    misunderstandings[kind]?.(request)
    if (kind === 'cut_ids') rewrite(response, body => body.objectIds ? { ...body, objectIds: body.objectIds.slice(0, 50) } : body)
    if (kind === 'deleted') {
      rewrite(response, body => {
        if (body.objectIds) return { ...body, objectIds: body.objectIds.filter(id => id !== fault.value) }
        return Number.isInteger(body.count) ? { ...body, count: body.count - 1 } : body
      })
    }
    if (distortions[kind]) rewrite(response, body => body.features?.length ? distortions[kind](body, fault) : body)
    next()
  }

  const router = express.Router()
  router.post('/faults', express.json(), (request, response) => {
    fault = request.body
    random = seeded(fault.seed ?? 1)
    calls = []
    mostInFlight = 0
    response.json({})
  })
  router.post('/layer', express.json(), (request, response) => response.json(Object.assign(layer, request.body)))
  router.get('/calls', (request, response) => response.json(calls))
  router.get('/most_in_flight', (request, response) => response.json(mostInFlight))
  router.use((request, response, next) => {
    calls.push({
      method: request.method,
      url: request.url,
      agent: request.get('User-Agent'),
      form: request.body ?? {},
      body_length: (request.rawBody ?? '').length
    })
    inFlight += 1
    mostInFlight = Math.max(mostInFlight, inFlight)
    response.on('close', () => { inFlight -= 1 })
    setTimeout(() => answer(request, response, next), fault.delayMs ?? 0)
  })
  return router
}

function forget (request, ...keys) {
  for (const key of keys) {
    delete request.query[key]
    if (request.body) delete request.body[key]
  }
}

// mulberry32: the same numbers for the same seed.
function seeded (seed) {
  let state = seed
  return () => {
    state = (state + 0x6D2B79F5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
