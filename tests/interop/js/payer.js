'use strict'
// Payers, one payment after the other: ilp-protocol-stream by address and secret, @interledger/pay by
// payment pointer too.
const { createConnection } = require('ilp-protocol-stream')
const { quote } = require('@interledger/pay')
const { verifyReceipt } = require('ilp-protocol-stream/dist/src/util/receipt')
const { task, plugin, emit, run } = require('./common')

async function stream () {
  for (const { destinationAccount, sharedSecret, amount, receiptSecret, slippage, data } of task.payments) {
    // A connection keeps its plugin for itself.
    const link = plugin(task.plugin)
    const connection = await createConnection({
      plugin: link,
      destinationAccount,
      sharedSecret: Buffer.from(sharedSecret, 'base64'),
      slippage
    })
    const stream = connection.createStream()
    if (data) stream.write(data)
    await stream.sendTotal(amount, { timeout: 240000 })
    emit({
      event: 'paid',
      sent: stream.totalSent,
      delivered: connection.totalDelivered,
      code: connection.destinationAssetCode,
      scale: connection.destinationAssetScale,
      receipt: receiptSecret && verifyReceipt(stream.receipt, Buffer.from(receiptSecret, 'base64')).totalReceived.toString()
    })
    // Says good-bye, and disconnects the plugin. `end` would wait half a minute for a server that is no more.
    await connection.destroy().catch(() => {})
  }
}

async function pay () {
  for (const { paymentPointer, destinationAccount, sharedSecret, amount, slippage } of task.payments) {
    // A payment disconnects its plugin at the end.
    const link = plugin(task.plugin)
    await link.connect()
    const where = paymentPointer
      ? { paymentPointer }
      : { destinationAddress: destinationAccount, sharedSecret: Buffer.from(sharedSecret, 'base64') }
    const agreed = await quote({ plugin: link, ...where, amountToSend: amount, prices: task.prices, slippage })
    const { error, amountSent, amountDelivered, destinationAccount: { assetScale } } = await agreed.pay()
    emit({
      event: 'paid',
      error: error || null,
      sent: amountSent.toString(),
      delivered: amountDelivered.toString(),
      scale: assetScale
    })
  }
}

run({ stream, pay })
