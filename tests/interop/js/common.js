'use strict'
// What every script here shares: the task is one JSON argument, results are JSON lines on stdout, and the
// script ends when its stdin does, so that it cannot outlive the test that started it.
const Btp = require('ilp-plugin-btp')
const Http = require('ilp-plugin-http')

const task = JSON.parse(process.argv[2])

// A plugin from {btp: options} or {http: options}, in the words of the plugins themselves.
function plugin (description) {
  return description.btp ? new Btp(description.btp) : new Http(description.http)
}

function emit (event) {
  process.stdout.write(JSON.stringify(event, (_, value) => typeof value === 'bigint' ? String(value) : value) + '\n')
}

function run (roles) {
  process.stdin.resume()
  process.stdin.on('end', () => process.exit(0))
  roles[task.role]().catch(error => {
    emit({ event: 'error', message: String((error && error.stack) || error) })
    process.exit(1)
  })
}

module.exports = { task, plugin, emit, run }
