// A FeatureServer for a GeoJSON file, on a free port of 127.0.0.1, with faults.
//
//   node server.js parcels.geojson '{"wkid": 2274, "maxRecordCount": 1000, "fields": […]}'
//   -> listening 41234           (then /parcels/rest/services/all/FeatureServer/0)
//
// It exits when its standard input closes, so it never outlives its tests.
const fs = require('fs')
const express = require('express')
const Koop = require('@koopjs/koop-core')
const asArcGIS = require('./arcgis')
const faultSwitch = require('./faults')
const providerOf = require('./provider')

const collection = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))
const layer = JSON.parse(process.argv[3])

const app = express()
app.use(express.urlencoded({
  extended: false,
  limit: '10mb',
  verify: (request, response, body) => { request.rawBody = body.toString() }
}))
app.use(faultSwitch(layer))
app.use(asArcGIS(layer))
const koop = new Koop({ logLevel: 'error' })
koop.register({
  type: 'provider', name: 'parcels', disableHostParam: true, Model: providerOf(collection, layer)
})
app.use(koop.server)
const server = app.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`))
process.stdin.resume().on('end', () => process.exit(0))
