'use strict'
// ilp-protocol-stream as a codec: packets that it writes, reads, encrypts and decrypts, receipts that it signs and checks.
const Long = require('long')
const crypto = require('ilp-protocol-stream/dist/src/crypto')
const stream = require('ilp-protocol-stream/dist/src/packet')
const receipts = require('ilp-protocol-stream/dist/src/util/receipt')
const { task, emit, run } = require('./common')

const hex = buffer => buffer.toString('hex')
const bytes = text => Buffer.from(text, 'hex')

// A frame is its name and its fields in the order of the wire: integers as decimal strings, octets as {hex}.
function frame ([name, ...fields]) {
  const read = field => typeof field === 'object' ? bytes(field.hex) : field
  return new stream[`${name}Frame`](...fields.map(read))
}

function field (value) {
  if (Buffer.isBuffer(value)) return { hex: hex(value) }
  return Long.isLong(value) ? value.toString() : value
}

function fields (frame) {
  const names = Object.getOwnPropertyNames(frame).filter(name => name !== 'type' && name !== 'name')
  return [frame.name, ...names.map(name => field(frame[name]))]
}

const packet = ({ packet_type: type, sequence, amount, frames }) =>
  new stream.Packet(sequence, type, amount, frames.map(frame))

const shown = ({ sequence, ilpPacketType, prepareAmount, frames }) => ({
  packet_type: ilpPacketType,
  sequence: sequence.toString(),
  amount: prepareAmount.toString(),
  frames: frames.map(fields)
})

async function write () {
  emit({ event: 'written', packets: task.packets.map(each => hex(packet(each)._serialize())) })
}

async function read () {
  emit({ event: 'read', packets: task.packets.map(each => shown(stream.Packet._deserializeUnencrypted(bytes(each)))) })
}

async function encrypt () {
  const made = task.packets.map(async ({ secret, size, ...each }) => {
    const key = await crypto.generatePskEncryptionKey(bytes(secret))
    const data = await packet(each).serializeAndEncrypt(key, size)
    const fulfillment = await crypto.generateFulfillment(await crypto.generateFulfillmentKey(bytes(secret)), data)
    return { data: hex(data), fulfillment: hex(fulfillment), condition: hex(await crypto.hash(fulfillment)) }
  })
  emit({ event: 'encrypted', packets: await Promise.all(made) })
}

async function decrypt () {
  const read = task.packets.map(async ({ secret, data }) => {
    const key = await crypto.generatePskEncryptionKey(bytes(secret))
    return shown(await stream.Packet.decryptAndDeserialize(key, bytes(data)))
  })
  emit({ event: 'decrypted', packets: await Promise.all(read) })
}

async function sign () {
  const made = task.receipts.map(({ nonce, stream_id: streamId, total, secret }) =>
    hex(receipts.createReceipt({ nonce: bytes(nonce), streamId, totalReceived: total, secret: bytes(secret) })))
  emit({ event: 'signed', receipts: made })
}

async function verify () {
  const read = task.receipts.map(({ receipt, secret }) => {
    const { nonce, streamId, totalReceived } = receipts.verifyReceipt(bytes(receipt), bytes(secret))
    return { nonce: hex(nonce), stream_id: streamId, total: totalReceived.toString() }
  })
  emit({ event: 'verified', receipts: read })
}

run({ write, read, encrypt, decrypt, sign, verify })
