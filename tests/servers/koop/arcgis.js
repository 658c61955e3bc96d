// Features of ArcGIS that Koop lacks: rows limited to maxRecordCount, a MapServer beside the
// FeatureServer, geometry in the layer's own CRS by default, errors for unknown columns.
module.exports = function asArcGIS (layer) {
  return (request, response, next) => {
    const isMap = request.path.includes('/MapServer/')
    request.url = request.url.replace('/MapServer/', '/FeatureServer/')
    if (request.path.endsWith('/query')) {
      if (refused(request, response, layer)) return
      prepare(request, layer)
    } else if (/FeatureServer\/\d+$/.test(request.path)) {
      rewrite(response, metadata => describe(metadata, layer, isMap))
    }
    next()
  }
}

function refused (request, response, { fields }) {
  const { outFields = '*' } = { ...request.body, ...request.query }
  const known = fields.map(({ name }) => name.toLowerCase())
  const unknown = outFields.split(',').map(name => name.trim().toLowerCase())
    .filter(name => name !== '*' && name !== '' && !known.includes(name))
  if (unknown.length === 0) return false
  response.json({ error: { code: 400, message: 'Failed to execute query.', details: ["'outFields' parameter is invalid"] } })
  return true
}

function prepare (request, { wkid, maxRecordCount }) {
  // In Koop the URL's parameters take precedence over the body's.
  const asked = { ...request.body, ...request.query }
  if (asked.geometry && !asked.inSR) request.query.inSR = String(wkid)
  if (['returnIdsOnly', 'returnCountOnly'].some(key => asked[key] === 'true') || asked.outStatistics) return
  request.query.resultRecordCount = String(Math.min(Number(asked.resultRecordCount) || maxRecordCount, maxRecordCount))
}

function describe (metadata, { lastEditDate, supportsPagination }, isMap) {
  const described = { ...metadata, capabilities: isMap ? 'Map,Query,Data' : 'Query' }
  described.advancedQueryCapabilities = { ...metadata.advancedQueryCapabilities, supportsPagination }
  if (lastEditDate && !isMap) described.editingInfo = { lastEditDate }
  if (isMap) delete described.objectIdField
  return described
}

// Koop's response, modified before it is sent.
function rewrite (response, change) {
  const send = response.json.bind(response)
  response.json = payload => send(payload.error ? payload : change(payload))
}
module.exports.rewrite = rewrite
