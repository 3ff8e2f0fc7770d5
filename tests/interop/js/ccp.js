'use strict'
// ilp-protocol-ccp and ilp-protocol-ildcp as codecs: what they make of packets, and packets that they make.
const ccp = require('ilp-protocol-ccp')
const ildcp = require('ilp-protocol-ildcp')
const { task, emit, run } = require('./common')

const hex = buffer => buffer.toString('hex')
const bytes = text => Buffer.from(text, 'hex')

// Buffers inside as hex, so that both sides can be compared as JSON.
function plain (value) {
  if (Buffer.isBuffer(value)) return hex(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]))
  }
  return value
}

const readers = {
  control: ccp.deserializeCcpRouteControlRequest,
  update: ccp.deserializeCcpRouteUpdateRequest,
  response: ccp.deserializeCcpResponse,
  ildcpRequest: ildcp.deserializeIldcpRequest,
  ildcpResponse: ildcp.deserializeIldcpResponse
}

const writers = {
  control: ccp.serializeCcpRouteControlRequest,
  update: ccp.serializeCcpRouteUpdateRequest,
  response: () => ccp.serializeCcpResponse(),
  ildcpRequest: ildcp.serializeIldcpRequest,
  ildcpResponse: ildcp.serializeIldcpResponse
}

// Reads each packet and writes it again: the bytes must be the same.
async function echo () {
  const results = task.packets.map(({ kind, packet }) => {
    const read = readers[kind](bytes(packet))
    return { read: plain(read === undefined ? null : read), written: hex(writers[kind](read)) }
  })
  emit({ event: 'echo', results })
}

run({ echo })
