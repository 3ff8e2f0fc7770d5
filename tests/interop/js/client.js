'use strict'
// A plugin used as a plain client: IL-DCP, packets of our own, sub-protocols, reconnection.
const crypto = require('crypto')
const packet = require('ilp-packet')
const ILDCP = require('ilp-protocol-ildcp')
const { task, plugin, emit, run } = require('./common')

const fulfillment = Buffer.alloc(32, 1)
const condition = crypto.createHash('sha256').update(fulfillment).digest()

// One Prepare of `amount` to `destination`; the reply in words.
async function exchange (link, { amount, destination, expiryMs = 10000, data = '' }) {
  const reply = packet.deserializeIlpPacket(await link.sendData(packet.serializeIlpPrepare({
    amount: String(amount),
    destination,
    executionCondition: condition,
    expiresAt: new Date(Date.now() + expiryMs),
    data: Buffer.concat([crypto.randomBytes(16), Buffer.from(data)])
  })))
  if (reply.type === packet.Type.TYPE_ILP_FULFILL) return { fulfilled: true }
  const { code, triggeredBy, message } = reply.data
  return { fulfilled: false, code, triggeredBy, message }
}

async function ildcp () {
  const link = plugin(task.plugin)
  await link.connect()
  const { clientAddress, assetCode, assetScale } = await ILDCP.fetch(data => link.sendData(data))
  emit({ event: 'ildcp', clientAddress, assetCode, assetScale })
}

async function send () {
  const link = plugin(task.plugin)
  link.registerDataHandler(async () => { throw new Error('a sender gets no packets') })
  await link.connect()
  for (const wanted of task.packets) emit({ event: 'reply', ...await exchange(link, wanted) })
}

// Fulfils everything with the fixed fulfillment and says how much came in.
async function receive () {
  const link = plugin(task.plugin)
  let received = 0n
  link.registerDataHandler(async data => {
    received += BigInt(packet.deserializeIlpPrepare(data).amount)
    emit({ event: 'money', received })
    return packet.serializeIlpFulfill({ fulfillment, data: Buffer.alloc(0) })
  })
  await link.connect()
  emit({ event: 'ready' })
}

run({ ildcp, send, receive })
