// Koop's provider of the parcels, with an R-tree that keeps far-away features from Koop.
const RBush = require('rbush')
const geometryFilter = require('@koopjs/winnow/src/normalize-query-options/geometry-filter')

module.exports = function providerOf (collection, layer) {
  const boxes = collection.features.flatMap(({ geometry }, index) =>
    geometry ? [{ ...boxOf(geometry.coordinates), index }] : [])
  const tree = new RBush().load(boxes)
  const whole = boxOf(boxes.map(box => [[box.minX, box.minY], [box.maxX, box.maxY]]))

  return class Model {
    getData (request, callback) {
      let features = near({ ...request.body, ...request.query })
      if (request.unstableOrder) features = shuffled(features)
      callback(null, {
        type: 'FeatureCollection',
        crs: { type: 'name', properties: { name: `urn:ogc:def:crs:EPSG::${layer.wkid}` } },
        features,
        metadata: {
          name: 'Parcels',
          idField: 'OBJECTID',
          geometryType: 'Polygon',
          maxRecordCount: layer.maxRecordCount,
          extent: [[whole.minX, whole.minY], [whole.maxX, whole.maxY]],
          fields: layer.fields
        }
      })
    }
  }

  function near ({ geometry, inSR }) {
    if (!geometry) return collection.features
    const shape = geometryFilter({ geometry: parsed(geometry), inSR: parsed(inSR), sourceSR: layer.wkid })
    const parts = shape.type.startsWith('Multi') ? shape.coordinates : [shape.coordinates]
    const found = new Set(parts.flatMap(part => tree.search(boxOf(part)).map(box => box.index)))
    return [...found].sort((a, b) => a - b).map(index => collection.features[index])
  }
}

function boxOf (coordinates) {
  const box = { minX: Infinity, minY: Infinity, maxX: -Infinity, maxY: -Infinity }
  const grow = part => {
    if (Array.isArray(part[0])) return part.forEach(grow)
    box.minX = Math.min(box.minX, part[0])
    box.minY = Math.min(box.minY, part[1])
    box.maxX = Math.max(box.maxX, part[0])
    box.maxY = Math.max(box.maxY, part[1])
  }
  grow(coordinates)
  return box
}

function parsed (text) {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function shuffled (features) {
  const order = features.map(feature => [Math.random(), feature])
  return order.sort(([a], [b]) => a - b).map(([, feature]) => feature)
}
