'use strict'
// A settlement engine on npm's ilp-settlement-core. Its ledger is a file of JSON lines, one for each
// payment, that the peer's engine reads too.
const fs = require('fs')
const crypto = require('crypto')
const { BigNumber } = require('bignumber.js')
const { startServer, connectRedis } = require('ilp-settlement-core')

const task = JSON.parse(process.argv[2])
const DECIMALS = 8

async function engine ({ creditSettlement }) {
  let account = null
  let seen = 0
  const look = () => {
    const lines = fs.readFileSync(task.ledger, 'utf8').split('\n').slice(0, -1)
    while (account && seen < lines.length) {
      const { to, amount, id } = JSON.parse(lines[seen++])
      if (to === task.name) creditSettlement(account, new BigNumber(amount), id)
    }
  }
  setInterval(look, 20)
  return {
    async setupAccount (id) { account = id },
    async settle (id, queued) {
      const amount = queued.decimalPlaces(DECIMALS, BigNumber.ROUND_DOWN)
      if (amount.isZero()) return amount
      const line = { to: task.peer, amount: amount.toFixed(), id: crypto.randomUUID() }
      fs.appendFileSync(task.ledger, JSON.stringify(line) + '\n')
      return amount
    },
    async handleMessage (id, message) { return { heard: message, by: task.name } }
  }
}

connectRedis({ port: task.redis, db: task.db })
  .then(store => startServer(engine, store, { connectorUrl: task.connector, port: task.port }))
  .then(() => console.log(JSON.stringify({ event: 'ready' })))
process.stdin.resume().on('end', () => process.exit(0))
