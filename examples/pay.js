// A payment from alice to bob through `fastilp run --config examples/node.toml`, over BTP.
//
//   npm install @interledger/pay@0.2.2 @interledger/stream-receiver@0.2.2 \
//               ilp-plugin-btp@1.5.0 ilp-protocol-ildcp@2.2.3 ilp-packet@3.1.3
//   node examples/pay.js [amount in whole units] [host:port]

const net = require('node:net')
const { quote } = require('@interledger/pay')
const { StreamServer } = require('@interledger/stream-receiver')
const { deserializeIlpPrepare, isIlpReply, serializeIlpReply } = require('ilp-packet')
const Btp = require('ilp-plugin-btp')
const ILDCP = require('ilp-protocol-ildcp')

const amount = process.argv[2] || '0.001'
const host = process.argv[3] || '127.0.0.1:7770'

// The plugin would try again for ever; somebody at a terminal wants to know.
const check = () => new Promise((resolve, reject) => {
  const { hostname, port } = new URL(`http://${host}`)
  const socket = net.connect({ host: hostname.replace(/[[\]]/g, ''), port: port || 80, timeout: 5000 })
  const fail = (error) => {
    socket.destroy()
    reject(new Error(`cannot connect to ${host}: ${error.code || error.message}; does the node run there?`))
  }
  socket.once('connect', () => resolve(socket.destroy()))
  socket.once('error', fail)
  socket.once('timeout', () => fail(new Error('no answer')))
})

const connect = async (username) => {
  const server = `btp+ws://${username}:${username}-btp-password@${host}/accounts/${username}/ilp/btp`
  const plugin = new Btp({ server })
  await plugin.connect()
  return plugin
}

async function main () {
  await check()
  const alice = await connect('alice')
  const bob = await connect('bob')

  // bob: asks the node for his address, and receives.
  const { clientAddress, assetCode, assetScale } = await ILDCP.fetch((data) => bob.sendData(data))
  const receiver = new StreamServer({ serverSecret: Buffer.alloc(32, 7), serverAddress: clientAddress })
  let received = 0n
  bob.registerDataHandler(async (data) => {
    const prepare = deserializeIlpPrepare(data)
    const reply = receiver.createReply(prepare)
    if (isIlpReply(reply)) return serializeIlpReply(reply)
    received += BigInt(prepare.amount)
    reply.setTotalReceived(received.toString())
    return serializeIlpReply(reply.accept())
  })
  const { ilpAddress, sharedSecret } = receiver.generateCredentials({
    paymentTag: 'invoice-1',
    asset: { code: assetCode, scale: assetScale }
  })

  // alice: probes the rate, and pays.
  const plan = await quote({
    plugin: alice,
    destinationAddress: ilpAddress,
    sharedSecret,
    amountToSend: amount,
    prices: { [assetCode]: 1 },
    slippage: 0.01
  })
  const paid = await plan.pay()
  if (paid.error) throw new Error(`the payment ended early: ${paid.error}; alice sent ${paid.amountSent}`)
  console.log(`alice sent ${paid.amountSent}, bob at ${clientAddress} got ${paid.amountDelivered} ${assetCode}`)
  await Promise.all([alice.disconnect(), bob.disconnect()])
}

main().then(() => process.exit(0), (error) => {
  console.error(`pay.js: ${error.message || error}`)
  process.exit(1)
})
