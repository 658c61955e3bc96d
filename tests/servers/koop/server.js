// A real FeatureServer over a GeoJSON file, on a free port of 127.0.0.1, with a fault switch.
//
//   node server.js parcels.geojson
//   -> listening 41234           (then /parcels/rest/services/all/FeatureServer/0)
//
// It ends when its standard input is closed, so it never outlives the tests that started it.
const fs = require('fs')
const express = require('express')
const Koop = require('@koopjs/koop-core')
const RBush = require('rbush')

const collection = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))
const boxes = collection.features.map((feature, index) => ({ ...boxOf(feature.geometry), index }))
const tree = new RBush().load(boxes)
const whole = boxes.reduce((a, b) => ({
  minX: Math.min(a.minX, b.minX), minY: Math.min(a.minY, b.minY),
  maxX: Math.max(a.maxX, b.maxX), maxY: Math.max(a.maxY, b.maxY)
}))

function boxOf ({ type, coordinates }) {
  const points = coordinates.flat(type === 'Polygon' ? 1 : 2)
  const xs = points.map(([x]) => x)
  const ys = points.map(([, y]) => y)
  return { minX: Math.min(...xs), minY: Math.min(...ys), maxX: Math.max(...xs), maxY: Math.max(...ys) }
}

// Koop filters what the provider hands over; the tree only spares it the far-away features.
class Model {
  getData (request, callback) {
    const { geometry, geometryType } = { ...request.query, ...request.body }
    let features = collection.features
    if (geometryType === 'esriGeometryPoint') {
      const [x, y] = String(geometry).split(',').map(Number)
      const near = tree.search({ minX: x, minY: y, maxX: x, maxY: y })
      features = near.map(box => collection.features[box.index])
    }
    callback(null, {
      type: 'FeatureCollection',
      features,
      metadata: {
        name: 'Parcels',
        idField: 'OBJECTID',
        geometryType: 'Polygon',
        maxRecordCount: 1000,
        extent: [[whole.minX, whole.minY], [whole.maxX, whole.maxY]],
        fields: Object.entries(collection.features[0].properties).map(fieldOf)
      }
    })
  }
}

// Koop reads the fields off the data that it is given, and a point off the map gives none.
function fieldOf ([name, value]) {
  if (typeof value !== 'number') return { name, type: 'String' }
  return { name, type: Number.isInteger(value) ? 'Integer' : 'Double' }
}

// What goes wrong, for the next `times` calls: POST /faults {"kind": "html", "times": 1}.
let fault = { kind: null, times: 0 }
let calls = []
const faults = {
  http500: response => response.status(500).send('Internal Server Error'),
  http429: response => response.status(429).set('Retry-After', '7').send('Too Many Requests'),
  error_body: response => response.json({ error: { code: 500, message: 'Error performing query operation', details: [] } }),
  token: response => response.json({ error: { code: 499, message: 'Token Required', details: [] } }),
  html: response => response.type('json').send('<html><body>Down for maintenance</body></html>'),
  firewall: response => response.send('<html><title>Request Rejected</title></html>'),
  truncated: response => response.type('json').send('{"features": [{"attributes": {"OBJ'),
  hang: () => {},
  close: response => response.socket.destroy()
}

const app = express()
app.post('/faults', express.json(), (request, response) => {
  fault = request.body
  calls = []
  response.json({})
})
app.get('/calls', (request, response) => response.json(calls))
app.use((request, response, next) => {
  calls.push({ method: request.method, url: request.url, agent: request.get('User-Agent') })
  if (!fault.kind || fault.times <= 0) return next()
  fault.times -= 1
  faults[fault.kind](response)
})
const koop = new Koop({ logLevel: 'error' })
koop.register({ type: 'provider', name: 'parcels', disableHostParam: true, Model })
app.use(koop.server)
const server = app.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`))
process.stdin.resume().on('end', () => process.exit(0))
