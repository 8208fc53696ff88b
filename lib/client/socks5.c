/* SPDX-License-Identifier: Apache-2.0 */
#include "client/socks5.h"

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <arpa/inet.h>
#endif

enum { VERSION = 5, AUTH_VERSION = 1, CONNECT = 1 };
enum { METHOD_NONE = 0, METHOD_PASSWORD = 2 };
enum { ADDR_IPV4 = 1, ADDR_NAME = 3, ADDR_IPV6 = 4 };

static simplex_rc write_auth(struct sx_socks5 *s, const char *user, const char *password)
{
    struct sx_wr w;

    sx_wr_fixed(&w, s->auth, sizeof(s->auth));
    sx_wr_u8(&w, AUTH_VERSION);
    sx_wr_short(&w, sx_str(user));
    sx_wr_short(&w, sx_str(password != NULL ? password : "")); /* may be empty for isolation */
    s->auth_len = (uint16_t)w.len;
    return w.bad ? SIMPLEX_E_ARG : SIMPLEX_OK;
}

static simplex_rc write_request(struct sx_socks5 *s, const struct sx_host *host, uint16_t port)
{
    uint8_t ip[16];
    struct sx_wr w;

    sx_wr_fixed(&w, s->request, sizeof(s->request));
    sx_wr_u8(&w, VERSION);
    sx_wr_u8(&w, CONNECT);
    sx_wr_u8(&w, 0);
    if (host->kind == SX_HOST_IPV4 && inet_pton(AF_INET, host->text, ip) == 1) {
        sx_wr_u8(&w, ADDR_IPV4);
        sx_wr_raw(&w, sx_bytes(ip, 4));
    } else if (host->kind == SX_HOST_IPV6 && inet_pton(AF_INET6, host->text, ip) == 1) {
        sx_wr_u8(&w, ADDR_IPV6);
        sx_wr_raw(&w, sx_bytes(ip, 16));
    } else {
        sx_wr_u8(&w, ADDR_NAME);
        sx_wr_short(&w, sx_str(host->text));
    }
    sx_wr_u16(&w, port);
    s->request_len = (uint16_t)w.len;
    return w.bad ? SIMPLEX_E_ARG : SIMPLEX_OK;
}

static void queue(struct sx_socks5 *s, const uint8_t *p, size_t n)
{
    memcpy(s->out, p, n);
    s->out_len = (uint16_t)n;
}

static void expect(struct sx_socks5 *s, enum sx_socks5_state state, size_t n)
{
    s->state = (uint8_t)state;
    s->in_need = (uint16_t)n;
}

simplex_rc sx_socks5_init(struct sx_socks5 *s, const struct sx_socks5_cfg *cfg)
{
    uint8_t hello[4] = { VERSION, 0 };
    simplex_rc rc = SIMPLEX_OK;

    memset(s, 0, sizeof(*s));
    if (cfg->user != NULL) {
        s->methods |= 2;
        hello[2 + hello[1]++] = METHOD_PASSWORD;
        rc = write_auth(s, cfg->user, cfg->password);
    }
    if (cfg->user == NULL || cfg->may_skip_auth) {
        s->methods |= 1;
        hello[2 + hello[1]++] = METHOD_NONE;
    }
    if (rc == SIMPLEX_OK)
        rc = write_request(s, cfg->host, cfg->port);
    if (rc != SIMPLEX_OK) {
        sx_socks5_wipe(s);
        s->state = SX_SOCKS5_FAILED;
        return rc;
    }
    queue(s, hello, 2u + hello[1]);
    expect(s, SX_SOCKS5_METHOD, 2);
    return SIMPLEX_OK;
}

simplex_bytes sx_socks5_take(struct sx_socks5 *s)
{
    simplex_bytes out = { s->out, s->out_len };

    s->out_len = 0;
    return out;
}

static simplex_rc send_request(struct sx_socks5 *s)
{
    queue(s, s->request, s->request_len);
    /* version, reply, reserved, kind, and the first byte of the address: a length for names */
    expect(s, SX_SOCKS5_REPLY, 5);
    return SIMPLEX_OK;
}

static simplex_rc on_method(struct sx_socks5 *s)
{
    if (s->in[0] != VERSION)
        return SIMPLEX_E_PROXY;
    if (s->in[1] == METHOD_NONE && (s->methods & 1) != 0)
        return send_request(s);
    if (s->in[1] == METHOD_PASSWORD && (s->methods & 2) != 0) {
        queue(s, s->auth, s->auth_len);
        expect(s, SX_SOCKS5_AUTH, 2);
        return SIMPLEX_OK;
    }
    return SIMPLEX_E_PROXY;
}

static simplex_rc on_auth(struct sx_socks5 *s)
{
    /* Some proxies answer with version 5 here; only the status counts. */
    return s->in[1] == 0 ? send_request(s) : SIMPLEX_E_PROXY;
}

static simplex_rc reply_error(uint8_t reply)
{
    switch (reply) {
    case 3: /* network unreachable */
    case 4: /* host unreachable */
    case 5: /* refused */
    case 6: /* TTL expired; Tor: no answer */
        return SIMPLEX_E_CONNECT;
    default: /* 0xf0 and up: Tor about onion services */
        return reply >= 0xf0 ? SIMPLEX_E_CONNECT : SIMPLEX_E_PROXY;
    }
}

static simplex_rc on_reply(struct sx_socks5 *s)
{
    size_t address;

    if (s->in[0] != VERSION)
        return SIMPLEX_E_PROXY;
    if (s->in[1] != 0)
        return reply_error(s->in[1]);
    switch (s->in[3]) {
    case ADDR_IPV4:
        address = 4;
        break;
    case ADDR_IPV6:
        address = 16;
        break;
    case ADDR_NAME:
        address = 1u + s->in[4];
        break;
    default:
        return SIMPLEX_E_PROXY;
    }
    expect(s, SX_SOCKS5_ADDRESS, address - 1 + 2);
    return SIMPLEX_OK;
}

static simplex_rc on_message(struct sx_socks5 *s)
{
    switch (s->state) {
    case SX_SOCKS5_METHOD:
        return on_method(s);
    case SX_SOCKS5_AUTH:
        return on_auth(s);
    case SX_SOCKS5_REPLY:
        return on_reply(s);
    case SX_SOCKS5_ADDRESS:
        expect(s, SX_SOCKS5_DONE, 0);
        return SIMPLEX_OK;
    default:
        return SIMPLEX_E_PROXY;
    }
}

simplex_rc sx_socks5_input(struct sx_socks5 *s, simplex_bytes in, size_t *used)
{
    *used = 0;
    while (s->state != SX_SOCKS5_DONE && *used < in.len) {
        if (s->state == SX_SOCKS5_FAILED)
            return SIMPLEX_E_PROXY;
        size_t n = (size_t)(s->in_need - s->in_len);
        if (n > in.len - *used)
            n = in.len - *used;
        memcpy(s->in + s->in_len, in.ptr + *used, n);
        s->in_len = (uint16_t)(s->in_len + n);
        *used += n;
        if (s->in_len < s->in_need)
            break;
        s->in_len = 0;
        simplex_rc rc = on_message(s);
        if (rc != SIMPLEX_OK) {
            s->state = SX_SOCKS5_FAILED;
            return rc;
        }
    }
    return SIMPLEX_OK;
}

void sx_socks5_wipe(struct sx_socks5 *s)
{
    sx_wipe(s, sizeof(*s));
}
