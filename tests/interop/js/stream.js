'use strict'
// ilp-protocol-stream as receiver and as sender, each its own process (Node 16: 2.7.1 dies on later ones).
const { createServer, createConnection } = require('ilp-protocol-stream')
const { task, plugin, emit, run } = require('./common')

async function receive () {
  const server = await createServer({ plugin: plugin(task.plugin) })
  let received = 0
  server.on('connection', connection => connection.on('stream', stream => {
    stream.setReceiveMax('1000000000000000')
    stream.on('money', amount => {
      received += Number(amount)
      emit({ event: 'money', received })
    })
  }))
  const { destinationAccount, sharedSecret } = server.generateAddressAndSecret()
  emit({ event: 'ready', destinationAccount, sharedSecret: sharedSecret.toString('base64') })
}

async function send () {
  const connection = await createConnection({
    plugin: plugin(task.plugin),
    destinationAccount: task.destinationAccount,
    sharedSecret: Buffer.from(task.sharedSecret, 'base64')
  })
  const stream = connection.createStream()
  await stream.sendTotal(task.amount, { timeout: 30000 })
  emit({
    event: 'paid',
    sent: stream.totalSent,
    delivered: connection.totalDelivered,
    sourceAccount: connection.sourceAccount,
    destinationAssetCode: connection.destinationAssetCode,
    destinationAssetScale: connection.destinationAssetScale
  })
}

run({ receive, send })
