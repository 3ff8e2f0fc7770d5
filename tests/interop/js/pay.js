'use strict'
// @interledger/stream-receiver as receiver and @interledger/pay as sender, each its own process.
const { quote } = require('@interledger/pay')
const { StreamServer } = require('@interledger/stream-receiver')
const { deserializeIlpPrepare, serializeIlpReply, isIlpReply } = require('ilp-packet')
const ILDCP = require('ilp-protocol-ildcp')
const { task, plugin, emit, run } = require('./common')

async function receive () {
  const link = plugin(task.plugin)
  let server
  let received = 0n
  // Before connect: the HTTP plugin opens its own server there.
  link.registerDataHandler(async data => {
    const prepare = deserializeIlpPrepare(data)
    const reply = server.createReply(prepare)
    if (isIlpReply(reply)) return serializeIlpReply(reply)
    received += BigInt(prepare.amount)
    reply.setTotalReceived(received.toString())
    emit({ event: 'money', received })
    return serializeIlpReply(reply.accept())
  })
  await link.connect()
  const { clientAddress, assetCode, assetScale } = await ILDCP.fetch(data => link.sendData(data))
  server = new StreamServer({ serverSecret: Buffer.alloc(32, 7), serverAddress: clientAddress })
  const asset = { code: assetCode, scale: assetScale }
  const credentials = server.generateCredentials({ paymentTag: 'invoice-1', asset })
  emit({
    event: 'ready',
    destinationAccount: credentials.ilpAddress,
    sharedSecret: credentials.sharedSecret.toString('base64'),
    clientAddress,
    assetCode,
    assetScale
  })
}

async function send () {
  const link = plugin(task.plugin)
  const agreed = await quote({
    plugin: link,
    destinationAddress: task.destinationAccount,
    sharedSecret: Buffer.from(task.sharedSecret, 'base64'),
    amountToSend: task.amountToSend,
    prices: task.prices,
    slippage: task.slippage
  })
  const receipt = await agreed.pay()
  emit({
    event: 'paid',
    error: receipt.error || null,
    amountSent: receipt.amountSent.toString(),
    amountDelivered: receipt.amountDelivered.toString(),
    estimatedExchangeRate: agreed.estimatedExchangeRate.map(String),
    sourceAccount: receipt.sourceAccount,
    destinationAccount: receipt.destinationAccount
  })
}

run({ receive, send })
