// Loaded by `lava run` into every Node process (NODE_OPTIONS=--require): makes fetch, http and https use the proxy of
// HTTPS_PROXY and HTTP_PROXY. Node reads those itself from 22.21 and 24.5 on (NODE_USE_ENV_PROXY=1), and even then not
// for agents that a program makes itself; before, calls would go around the proxy without a word.
//
// How: `fetch` connects through the dispatcher that undici keeps under a well-known symbol, and http(s) through
// Agent.prototype.createConnection. Both get a socket that first asks the proxy for a tunnel (CONNECT). An agent that
// brings its own createConnection or createSocket (https-proxy-agent and its kin) is not touched.
'use strict';

const DISPATCHER = Symbol.for('undici.globalDispatcher.1');
const READS_ENVIRONMENT = process.allowedNodeEnvironmentFlags.has('--use-env-proxy');

const proxies = { 'https:': readProxy('https_proxy'), 'http:': readProxy('http_proxy') };
const exceptions = (process.env.no_proxy || process.env.NO_PROXY || '').split(/[\s,]+/).filter(Boolean).map(readException);

if (proxies['https:'] || proxies['http:']) install();

function install() {
  const net = require('node:net');
  const tls = require('node:tls');
  const http = require('node:http');
  const https = require('node:https');
  const { Duplex } = require('node:stream');

  http.Agent.prototype.createConnection = tunnelled('http:', http.Agent.prototype.createConnection);
  https.Agent.prototype.createConnection = tunnelled('https:', https.Agent.prototype.createConnection);
  if (!READS_ENVIRONMENT) installDispatcher();

  // Agents of others call createConnection and use its result at once, so the socket must be there before its tunnel is.
  function tunnelled(protocol, original) {
    return function createConnection(...args) {
      const [options] = args;
      const proxy = proxies[protocol];
      const isOther = !options || typeof options !== 'object' || options.socketPath || options.path || options.socket;
      const isNative = this.options?.proxyEnv; // this agent goes through the proxy by itself
      if (isOther || isNative || !proxy || isExempt(options.host || 'localhost', options.port)) return original.apply(this, args);
      const tunnel = new Tunnel(proxy, options.host, options.port || 443);
      if (protocol === 'http:') return tunnel;
      const socket = original.call(this, { ...options, socket: tunnel });
      socket.ref = () => (tunnel.ref(), socket);
      socket.unref = () => (tunnel.unref(), socket);
      return socket;
    };
  }

  function installDispatcher() {
    void globalThis.Response; // loads undici, which then puts its dispatcher under the symbol
    const present = globalThis[DISPATCHER];
    if (!present) return;
    globalThis[DISPATCHER] = new present.constructor({ connect: connectForFetch });
  }

  function connectForFetch(options, callback) {
    const isSecure = options.protocol === 'https:';
    const port = options.port || (isSecure ? 443 : 80);
    const proxy = proxies[options.protocol];
    const servername = options.servername || (net.isIP(options.hostname) ? '' : options.hostname);
    const secure = (socket) => tls.connect({ ...options, socket, servername, ALPNProtocols: ['http/1.1'] });
    if (!proxy || isExempt(options.hostname, port)) {
      const to = { host: options.hostname, port, servername, localAddress: options.localAddress };
      return settle(isSecure ? tls.connect({ ...to, ALPNProtocols: ['http/1.1'] }) : net.connect(to));
    }
    openTunnel(net, proxy, options.hostname, port, (error, socket) => {
      if (error) return callback(error);
      if (isSecure) return settle(secure(socket));
      callback(null, socket);
    });

    function settle(socket) {
      const ready = isSecure ? 'secureConnect' : 'connect';
      const failed = (error) => callback(error);
      socket.once('error', failed);
      socket.once(ready, () => {
        socket.off('error', failed);
        socket.setNoDelay(true);
        callback(null, socket);
      });
    }
  }

  // A socket that can be written to before its tunnel stands.
  class Tunnel extends Duplex {
    constructor(proxy, host, port) {
      super();
      this.raw = openTunnel(net, proxy, host, port, (error, socket) => (error ? this.destroy(error) : this.opened(socket)));
      this.connecting = true;
    }

    opened(socket) {
      this.connecting = false;
      socket.on('data', (part) => this.push(part) || socket.pause());
      socket.on('end', () => this.push(null));
      socket.on('error', (error) => this.destroy(error));
      socket.on('close', () => this.destroy());
      socket.resume();
      this.emit('opened');
      this.emit('connect');
    }

    _write(part, encoding, done) {
      if (this.connecting) this.once('opened', () => this.raw.write(part, encoding, done));
      else this.raw.write(part, encoding, done);
    }

    _final(done) {
      if (this.connecting) this.once('opened', () => this.raw.end(done));
      else this.raw.end(done);
    }

    _read() {
      if (!this.connecting) this.raw.resume();
    }

    _destroy(error, done) {
      this.raw.destroy();
      done(error);
    }

    ref() {
      this.raw.ref();
      return this;
    }

    unref() {
      this.raw.unref();
      return this;
    }

    setKeepAlive(...args) {
      this.raw.setKeepAlive(...args);
      return this;
    }

    setNoDelay(...args) {
      this.raw.setNoDelay(...args);
      return this;
    }

    setTimeout(milliseconds, callback) {
      this.raw.setTimeout(milliseconds, () => this.emit('timeout'));
      if (callback) this.once('timeout', callback);
      return this;
    }
  }
}

function openTunnel(net, proxy, host, port, callback) {
  const target = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
  const place = { host: proxy.host, port: proxy.port };
  const socket = proxy.isSecure ? require('node:tls').connect({ ...place, servername: proxy.servername }) : net.connect(place);
  let head = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.once(proxy.isSecure ? 'secureConnect' : 'connect', () => socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${proxy.authorization}\r\n`));
  socket.on('readable', read);
  socket.once('error', fail);
  socket.once('close', fail);
  return socket;

  function read() {
    for (let part = socket.read(); part !== null; part = socket.read()) {
      head = Buffer.concat([head, part]);
      const end = head.indexOf('\r\n\r\n');
      if (end >= 0) return answered(head.subarray(0, end).toString('latin1'), head.subarray(end + 4));
    }
  }

  function answered(text, rest) {
    release();
    const [line] = text.split('\r\n');
    if (!/^HTTP\/1\.[01] 2\d\d/.test(line)) {
      socket.destroy();
      return callback(new Error(`The proxy ${proxy.host}:${proxy.port} refused ${target}: ${line}`));
    }
    if (rest.length) socket.unshift(rest);
    callback(null, socket);
  }

  function fail(error) {
    release();
    socket.on('error', () => {});
    socket.destroy();
    callback(error instanceof Error ? error : new Error(`The proxy ${proxy.host}:${proxy.port} closed the connection`));
  }

  function release() {
    socket.off('readable', read);
    socket.off('error', fail);
    socket.off('close', fail);
  }
}

function readProxy(name) {
  const text = process.env[name] || process.env[name.toUpperCase()];
  if (!text) return null;
  try {
    const url = new URL(text);
    const user = decodeURIComponent(url.username);
    const credentials = `${user}:${decodeURIComponent(url.password)}`;
    const isNamed = url.username || url.password;
    const authorization = isNamed ? `Proxy-Authorization: Basic ${Buffer.from(credentials).toString('base64')}\r\n` : '';
    const isSecure = url.protocol === 'https:';
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const servername = /^[\d.]+$|:/.test(host) ? '' : host;
    return { host, servername, port: Number(url.port) || (isSecure ? 443 : 80), isSecure, authorization };
  } catch {
    return null;
  }
}

// `host`, `.suffix`, `*.suffix`, `host:port`, `[v6]:port`, a bare v6 address, or `*`.
function readException(text) {
  const bracketed = /^\[(.*)\](?::(\d+))?$/.exec(text);
  const parts = text.split(':');
  const [host, port] = bracketed ? bracketed.slice(1) : parts.length === 2 ? parts : [text];
  return { host: host.toLowerCase().replace(/^\*\./, '.'), port: port || '' };
}

function isExempt(host, port) {
  const name = String(host).toLowerCase().replace(/^\[|\]$/g, '');
  return exceptions.some((each) => {
    if (each.port && each.port !== String(port)) return false;
    const suffix = each.host.replace(/^\.?/, '.');
    return each.host === '*' || `.${name}`.endsWith(suffix);
  });
}
