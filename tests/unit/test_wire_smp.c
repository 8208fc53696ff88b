/* SPDX-License-Identifier: Apache-2.0 */
/* The SMP codec where no vectors reach: version 19, refusals, limits and odd texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "wire/smp.h"

static uint8_t out[20000];

static struct sx_wr fixed(void)
{
    struct sx_wr w;

    sx_wr_fixed(&w, out, sizeof out);
    return w;
}

static void assert_bytes(simplex_bytes got, const void *want, size_t n)
{
    assert_int_equal(got.len, n);
    assert_memory_equal(got.ptr, want, n);
}

static void assert_text(simplex_bytes got, const char *want)
{
    assert_bytes(got, want, strlen(want));
}

#define LIT(s) sx_bytes(s, sizeof(s) - 1)

static struct sx_pub key_of(enum sx_alg alg)
{
    struct sx_pub k = { .alg = (uint8_t)alg };

    memset(k.b, 7, sx_key_len(alg));
    return k;
}

/* ---- a command of each kind, with everything that may be in it ---- */

static uint8_t keys_buf[300];

static simplex_bytes two_keys(void)
{
    struct sx_pub a = key_of(SX_ED25519), b = key_of(SX_ED448);
    struct sx_wr w;

    sx_wr_fixed(&w, keys_buf, sizeof keys_buf);
    sx_wr_key(&w, &a);
    sx_wr_key(&w, &b);
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

static struct sx_cmd full_new(void)
{
    struct sx_cmd c = { .tag = SX_NEW };

    c.new_.auth = key_of(SX_ED448);
    c.new_.dh = key_of(SX_X25519);
    c.new_.has_password = true;
    c.new_.password = LIT("secret");
    c.new_.subscribe = true;
    c.new_.mode = SX_MODE_CONTACT;
    c.new_.has_link = true;
    c.new_.link_id = LIT("link");
    c.new_.snd_id = LIT("sender");
    c.new_.fixed = LIT("fixed");
    c.new_.user = LIT("user");
    c.new_.has_ntf = true;
    c.new_.ntf_auth = key_of(SX_X25519);
    c.new_.ntf_dh = key_of(SX_X25519);
    return c;
}

static struct sx_cmd sample(enum sx_cmd_tag tag)
{
    struct sx_cmd c = { .tag = tag };

    switch (tag) {
    case SX_NEW:
        return full_new();
    case SX_SUBS:
    case SX_NSUBS:
        c.subs.has_hash = true;
        c.subs.count = 258;
        memset(c.subs.hash, 0xab, sizeof c.subs.hash);
        break;
    case SX_KEY:
    case SX_SKEY:
    case SX_LKEY:
        c.key.key = key_of(SX_ED25519);
        break;
    case SX_RKEY:
        c.rkey.keys = two_keys();
        c.rkey.count = 2;
        break;
    case SX_LSET:
        c.lset.link_id = LIT("link");
        c.lset.user = LIT("user");
        break;
    case SX_NKEY:
        c.nkey.auth = key_of(SX_ED25519);
        c.nkey.dh = key_of(SX_X25519);
        break;
    case SX_ACK:
        c.ack.msg_id = LIT("message id");
        break;
    case SX_SEND:
        c.send.body = LIT("body");
        break;
    case SX_PRXY:
        c.prxy.server.n_hosts = 1;
        memcpy(c.prxy.server.hosts[0].text, "host", 5);
        break;
    case SX_PFWD:
        c.pfwd.version = 18;
        c.pfwd.key = key_of(SX_X25519);
        c.pfwd.body = LIT("body");
        break;
    case SX_RFWD:
        c.rfwd.body = LIT("body");
        break;
    case SX_RSLV:
        c.rslv.name = LIT("alice.simplex");
        break;
    default:
        break;
    }
    return c;
}

static size_t encode(const struct sx_cmd *c, uint16_t v, uint8_t *to, size_t size)
{
    struct sx_wr w;

    sx_wr_fixed(&w, to, size);
    sx_cmd_encode(&w, c, v);
    assert_false(w.bad);
    return w.len;
}

static bool has_tail(enum sx_cmd_tag tag)
{
    return tag == SX_SEND || tag == SX_PFWD || tag == SX_RFWD || tag == SX_RSLV;
}

static void assert_refused(simplex_bytes text, uint16_t v, uint8_t cmd)
{
    struct sx_cmd c;
    struct sx_smp_err err;

    assert_int_equal(sx_cmd_decode(text, v, &c, &err), SIMPLEX_E_DECODE);
    assert_int_equal(err.err, SX_ERR_CMD);
    assert_int_equal(err.cmd, cmd);
}

/* Cut inside the tag it is another tag or none, later it is a known tag with bad parameters. */
static void check_cuts(enum sx_cmd_tag tag, uint16_t v, const uint8_t *text, size_t len)
{
    size_t name = strlen(sx_cmd_name(tag));

    for (size_t n = name; n < len; n++) {
        struct sx_cmd c;
        struct sx_smp_err err;
        simplex_rc rc = sx_cmd_decode(sx_bytes(text, n), v, &c, &err);

        if (rc == SIMPLEX_OK) {
            assert_true(has_tail(tag));
            continue;
        }
        assert_int_equal(err.err, SX_ERR_CMD);
        assert_int_equal(err.cmd, SX_CMD_SYNTAX);
    }
}

static void refuses_commands_that_are_cut_or_too_long(void **state)
{
    uint8_t text[700];

    (void)state;
    for (int tag = 0; tag < SX_CMD_TAGS; tag++) {
        struct sx_cmd c = sample((enum sx_cmd_tag)tag), got;
        struct sx_smp_err err;

        for (uint16_t v = SX_SMP_MIN; v <= SX_SMP_MAX; v++) {
            size_t len = encode(&c, v, text, sizeof text - 1);

            assert_int_equal(sx_cmd_decode(sx_bytes(text, len), v, &got, &err), SIMPLEX_OK);
            assert_int_equal(got.tag, tag);
            check_cuts(c.tag, v, text, len);
            text[len] = len == strlen(sx_cmd_name(c.tag)) ? ' ' : 'x';
            if (!has_tail(c.tag))
                assert_refused(sx_bytes(text, len + 1), v, SX_CMD_SYNTAX);
        }
    }
}

static void refuses_unknown_tags(void **state)
{
    static const char *const unknown[] = { "",   " ",  " SUB",   "sub",   "SUBX",
                                           "SU", "OK", "PING\n", "NEWS 1" };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(unknown); i++)
        assert_refused(sx_str(unknown[i]), SX_SMP_MAX, SX_CMD_UNKNOWN);
}

static void version_19_sends_count_and_hash_of_the_queues(void **state)
{
    static const enum sx_cmd_tag tags[] = { SX_SUBS, SX_NSUBS };
    static const char *const want[] = {
        "SUBS \0\0\0\0\0\0\1\2\x10"
        "\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab",
        "NSUBS \0\0\0\0\0\0\1\2\x10"
        "\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab",
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(tags); i++) {
        struct sx_cmd c = sample(tags[i]), got;
        struct sx_smp_err err;
        size_t name = strlen(sx_cmd_name(tags[i]));
        size_t len = encode(&c, 19, out, sizeof out);

        assert_bytes(sx_bytes(out, len), want[i], name + 26);
        assert_int_equal(sx_cmd_decode(sx_bytes(out, len), 19, &got, &err), SIMPLEX_OK);
        assert_true(got.subs.has_hash);
        assert_int_equal(got.subs.count, 258);
        assert_memory_equal(got.subs.hash, c.subs.hash, 16);
        assert_refused(sx_bytes(out, len), 18, SX_CMD_SYNTAX);
        assert_refused(sx_str(sx_cmd_name(tags[i])), 19, SX_CMD_SYNTAX);
        len = encode(&c, 18, out, sizeof out);
        assert_bytes(sx_bytes(out, len), sx_cmd_name(tags[i]), name);
        assert_int_equal(sx_cmd_decode(sx_bytes(out, len), 18, &got, &err), SIMPLEX_OK);
        assert_false(got.subs.has_hash);
        c.subs.has_hash = false;
        struct sx_wr w = fixed();
        sx_cmd_encode(&w, &c, 19);
        assert_true(w.bad);
    }
}

static void version_19_confirms_count_and_hash_of_the_queues(void **state)
{
    static const enum sx_rsp_tag tags[] = { SX_R_SOKS, SX_R_ENDS };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(tags); i++) {
        struct sx_rsp m = { .tag = tags[i] }, got;
        struct sx_wr w = fixed();

        m.soks.count = 3;
        m.soks.has_hash = true;
        memset(m.soks.hash, 'h', sizeof m.soks.hash);
        sx_rsp_encode(&w, &m, 19);
        assert_false(w.bad);
        assert_memory_equal(w.p, sx_rsp_name(tags[i]), 4);
        assert_bytes(sx_bytes(w.p + 4, w.len - 4), " \0\0\0\0\0\0\0\3\x10hhhhhhhhhhhhhhhh", 26);
        assert_int_equal(sx_rsp_decode(sx_wr_bytes(&w), 19, &got), SIMPLEX_OK);
        assert_int_equal(got.tag, tags[i]);
        assert_int_equal(got.soks.count, 3);
        assert_true(got.soks.has_hash);
        assert_memory_equal(got.soks.hash, m.soks.hash, 16);
        assert_int_equal(sx_rsp_decode(sx_wr_bytes(&w), 18, &got), SIMPLEX_E_DECODE);
        assert_int_equal(sx_rsp_decode(sx_bytes(w.p, 13), 18, &got), SIMPLEX_OK);
        assert_false(got.soks.has_hash);
        assert_int_equal(sx_rsp_decode(sx_bytes(w.p, 13), 19, &got), SIMPLEX_E_DECODE);
        m.soks.has_hash = false;
        w = fixed();
        sx_rsp_encode(&w, &m, 19);
        assert_true(w.bad);
    }
}

/* Section 6.1: what is missing or too much, for no / auth / entity / both. */
static void asks_for_the_credentials_of_the_table(void **state)
{
    enum { OK = 0, NA = SX_CMD_NO_AUTH, HA = SX_CMD_HAS_AUTH, NE = SX_CMD_NO_ENTITY };
    static const uint8_t want[SX_CMD_TAGS][4] = {
        [SX_NEW] = { NA, OK, NA, HA },   [SX_SUB] = { NA, NA, NA, OK },
        [SX_SUBS] = { NA, NA, NA, OK },  [SX_KEY] = { NA, NA, NA, OK },
        [SX_RKEY] = { NA, NA, NA, OK },  [SX_LSET] = { NA, NA, NA, OK },
        [SX_LDEL] = { NA, NA, NA, OK },  [SX_NKEY] = { NA, NA, NA, OK },
        [SX_NDEL] = { NA, NA, NA, OK },  [SX_GET] = { NA, NA, NA, OK },
        [SX_ACK] = { NA, NA, NA, OK },   [SX_OFF] = { NA, NA, NA, OK },
        [SX_DEL] = { NA, NA, NA, OK },   [SX_QUE] = { NA, NA, NA, OK },
        [SX_SKEY] = { NA, NA, NA, OK },  [SX_SEND] = { NE, NE, OK, OK },
        [SX_PING] = { OK, HA, HA, HA },  [SX_LKEY] = { NA, NA, NA, OK },
        [SX_LGET] = { NE, NE, OK, HA },  [SX_NSUB] = { NA, NA, NA, OK },
        [SX_NSUBS] = { NA, NA, NA, OK }, [SX_PRXY] = { OK, HA, HA, HA },
        [SX_PFWD] = { NE, NE, OK, HA },  [SX_RFWD] = { OK, HA, HA, HA },
        [SX_RSLV] = { OK, HA, HA, HA },
    };

    (void)state;
    for (int tag = 0; tag < SX_CMD_TAGS; tag++) {
        for (unsigned i = 0; i < 4; i++) {
            struct sx_cmd c = { .tag = (enum sx_cmd_tag)tag };
            struct sx_smp_err e = sx_cmd_check_credentials(&c, (i & 1) != 0, (i & 2) != 0);

            assert_int_equal(e.cmd, want[tag][i]);
            assert_int_equal(e.err, want[tag][i] == OK ? SX_ERR_NONE : SX_ERR_CMD);
        }
    }
}

static bool cmd_bad(const struct sx_cmd *c, uint16_t v)
{
    struct sx_wr w = fixed();

    sx_cmd_encode(&w, c, v);
    return w.bad;
}

static void does_not_write_what_would_be_refused(void **state)
{
    static const uint8_t long_id[256];
    struct sx_cmd c = full_new();

    (void)state;
    c.new_.mode = 'x';
    assert_true(cmd_bad(&c, 18));
    c = full_new();
    c.new_.password = LIT("pass word");
    assert_true(cmd_bad(&c, 8));
    assert_true(cmd_bad(&c, 18));
    c.new_.password = LIT("");
    assert_true(cmd_bad(&c, 18));
    c = sample(SX_RKEY);
    c.rkey.count = 0;
    assert_true(cmd_bad(&c, 18));
    c = sample(SX_ACK);
    c.ack.msg_id = sx_bytes(long_id, sizeof long_id);
    assert_true(cmd_bad(&c, 18));
    c = sample(SX_RSLV);
    c.rslv.name = LIT("nodot");
    assert_true(cmd_bad(&c, 19));
    c = sample(SX_PRXY);
    c.prxy.server.n_hosts = 0;
    assert_true(cmd_bad(&c, 18));
    c.tag = SX_CMD_TAGS;
    assert_true(cmd_bad(&c, 18));
    struct sx_rsp m = { .tag = SX_RSP_TAGS };
    struct sx_wr w = fixed();
    sx_rsp_encode(&w, &m, 18);
    assert_true(w.bad);
}

static void command_keys_are_of_the_allowed_kinds(void **state)
{
    static const enum sx_alg algs[] = { SX_ED25519, SX_ED448, SX_X25519, SX_X448 };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(algs); i++) {
        struct sx_cmd c = sample(SX_NKEY), got;
        struct sx_smp_err err;

        c.nkey.auth = key_of(algs[i]);
        size_t len = encode(&c, 18, out, sizeof out);
        assert_int_equal(sx_cmd_decode(sx_bytes(out, len), 18, &got, &err),
                         algs[i] == SX_X448 ? SIMPLEX_E_DECODE : SIMPLEX_OK);
        c.nkey.auth = key_of(SX_ED25519);
        c.nkey.dh = key_of(algs[i]);
        len = encode(&c, 18, out, sizeof out);
        assert_int_equal(sx_cmd_decode(sx_bytes(out, len), 18, &got, &err),
                         algs[i] == SX_X25519 ? SIMPLEX_OK : SIMPLEX_E_DECODE);
    }
}

static void reads_the_keys_of_a_list_one_by_one(void **state)
{
    struct sx_cmd c = sample(SX_RKEY), got;
    struct sx_smp_err err;
    struct sx_pub want = key_of(SX_ED25519), k;

    (void)state;
    size_t len = encode(&c, 18, out, sizeof out);
    assert_int_equal(sx_cmd_decode(sx_bytes(out, len), 18, &got, &err), SIMPLEX_OK);
    assert_int_equal(got.rkey.count, 2);
    struct sx_rd r = sx_rd_init(got.rkey.keys);
    sx_rkey_next(&r, &k);
    assert_true(sx_pub_eq(&k, &want));
    want = key_of(SX_ED448);
    sx_rkey_next(&r, &k);
    assert_true(sx_pub_eq(&k, &want));
    assert_true(sx_rd_done(&r));
    sx_rkey_next(&r, &k);
    assert_true(r.bad);
    assert_int_equal(k.alg, SX_NO_KEY);
}

static void resolves_only_names_with_labels(void **state)
{
    static char label64[] =
        "RSLV aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b";
    static const char *const bad[] = { "RSLV ",     "RSLV a",    "RSLV .a",         "RSLV a.",
                                       "RSLV a..b", "RSLV  a.b", "RSLV \xc3\xa4.b", label64 };
    struct sx_cmd c;
    struct sx_smp_err err;
    char text[300] = "RSLV ";

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++)
        assert_refused(sx_str(bad[i]), 19, SX_CMD_SYNTAX);
    assert_int_equal(sx_cmd_decode(LIT("RSLV a.b later additions"), 19, &c, &err), SIMPLEX_OK);
    assert_text(c.rslv.name, "a.b");
    for (size_t i = 5; i < 5 + 254; i++)
        text[i] = i % 2 == 0 ? '.' : 'a';
    assert_int_equal(sx_cmd_decode(sx_bytes(text, 5 + 253), 19, &c, &err), SIMPLEX_OK);
    text[5 + 254] = 'a';
    assert_refused(sx_bytes(text, 5 + 255), 19, SX_CMD_SYNTAX);
}

/* ---- responses ---- */

static void refuses_responses_that_are_cut_or_unknown(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } bad[] = {
        { "", 0 },          { "ok", 2 },
        { "OK ", 3 },       { "OKAY", 4 },
        { "END 1", 5 },     { "IDS", 3 },
        { "IDS ", 4 },      { "MSG", 3 },
        { "MSG ", 4 },      { "NMSG \1", 6 },
        { "ERR", 3 },       { "ERR ", 4 },
        { "ERR WHAT", 8 },  { "SOK 2", 5 },
        { "SOK 0x", 6 },    { "SOKS \0\0\0", 8 },
        { "PKEY \0", 6 },   { "PKEY \0\0\7\0\6", 10 },
        { "LNK \1a\0", 7 }, { "NEW ", 4 },
        { "INFO", 4 },      { "PRES", 4 },
    };
    struct sx_rsp m;

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++) {
        assert_int_equal(sx_rsp_decode(sx_bytes(bad[i].text, bad[i].len), 18, &m),
                         SIMPLEX_E_DECODE);
        assert_int_equal(m.tag, SX_RSP_TAGS);
    }
}

static void checks_ranges_and_chains_of_relays(void **state)
{
    struct sx_rsp m = { .tag = SX_R_PKEY }, got;
    simplex_bytes certs[SX_HELLO_CERTS_MAX];
    size_t n;
    struct sx_wr w = fixed();

    (void)state;
    m.pkey.session_id = LIT("session");
    m.pkey.min = 8;
    m.pkey.max = 18;
    m.pkey.chain = LIT("\2\0\1a\0\2bc");
    m.pkey.signed_key = LIT("key");
    sx_rsp_encode(&w, &m, 18);
    assert_int_equal(sx_rsp_decode(sx_wr_bytes(&w), 18, &got), SIMPLEX_OK);
    assert_text(got.pkey.signed_key, "key");
    assert_int_equal(sx_chain_decode(got.pkey.chain, certs, &n), SIMPLEX_OK);
    assert_int_equal(n, 2);
    assert_text(certs[0], "a");
    assert_text(certs[1], "bc");
    assert_int_equal(sx_chain_decode(LIT("\0"), certs, &n), SIMPLEX_E_DECODE);
    assert_int_equal(n, 0);
    assert_int_equal(sx_chain_decode(LIT("\1\0\1ab"), certs, &n), SIMPLEX_E_DECODE);
    assert_int_equal(sx_chain_decode(LIT("\2\0\1a\0"), certs, &n), SIMPLEX_E_DECODE);
    assert_int_equal(sx_chain_decode(LIT("\x9\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), certs, &n),
                     SIMPLEX_E_DECODE);
    w = fixed();
    m.pkey.min = 19;
    sx_rsp_encode(&w, &m, 18);
    assert_true(w.bad);
}

/* ---- transmissions and batches ---- */

static void carries_service_signatures_since_version_16(void **state)
{
    static const uint8_t sig[64] = { 1 };
    struct sx_transmission t = { .auth = sx_bytes(sig, 64),
                                 .has_service_sig = true,
                                 .service_sig = sx_bytes(sig, 64),
                                 .corr_id = LIT("corr"),
                                 .command = LIT("SUB") },
                           got;
    struct sx_wr w = fixed();

    (void)state;
    sx_transmission_encode(&w, &t, 16);
    assert_int_equal(sx_transmission_decode(sx_wr_bytes(&w), 16, &got), SIMPLEX_OK);
    assert_true(got.has_service_sig);
    assert_bytes(got.service_sig, sig, 64);
    w = fixed();
    sx_transmission_encode(&w, &t, 15);
    assert_int_equal(sx_transmission_decode(sx_wr_bytes(&w), 15, &got), SIMPLEX_OK);
    assert_false(got.has_service_sig);
    assert_text(got.command, "SUB");
    t.service_sig.len = 63;
    w = fixed();
    sx_transmission_encode(&w, &t, 16);
    assert_true(w.bad);
    t.service_sig.len = 64;
    t.auth.len = 0;
    w = fixed();
    sx_transmission_encode(&w, &t, 16);
    assert_true(w.bad);
    assert_int_equal(sx_transmission_decode(LIT("\1a1\1b\0\0SUB"), 16, &got), SIMPLEX_E_DECODE);
    assert_int_equal(sx_transmission_decode(LIT("\1a2\0\0SUB"), 16, &got), SIMPLEX_E_DECODE);
    assert_int_equal(sx_transmission_decode(LIT("\0\0"), 16, &got), SIMPLEX_E_DECODE);
}

static void knows_authorisations_by_their_length(void **state)
{
    (void)state;
    for (size_t n = 0; n < 256; n++)
        assert_int_equal(sx_auth_len_valid(n), n == 0 || n == 64 || n == 80 || n == 114);
}

static void check_plan(size_t len, size_t n, const size_t *want, size_t want_blocks)
{
    static size_t lens[2000], first[2000];
    size_t blocks;

    for (size_t i = 0; i < n; i++)
        lens[i] = len;
    assert_int_equal(sx_batch_plan(lens, n, first, &blocks), SIMPLEX_OK);
    assert_int_equal(blocks, want_blocks);
    size_t at = 0;
    for (size_t i = 0; i < blocks; i++) {
        assert_int_equal(first[i], at);
        at += want[i];
    }
    assert_int_equal(at, n);
}

/* Lengths of SUB with Ed25519 at v16+, v7-15, v6, of END, of NMSG, and of what fills a block. */
static void fills_the_last_blocks_first(void **state)
{
    static const size_t sub18[] = { 30, 135, 135 }, sub7[] = { 28, 136, 136 };
    static const size_t sub6[] = { 34, 106 }, end[] = { 245, 255 }, nmsg[] = { 20, 80, 80 };
    static const size_t one[] = { 1, 1 };

    (void)state;
    check_plan(119, 300, sub18, 3);
    check_plan(118, 300, sub7, 3);
    check_plan(151, 140, sub6, 2);
    check_plan(30, 500, end, 2);
    check_plan(201, 180, nmsg, 3);
    check_plan(SX_BATCH_CONTENT - 2, 2, one, 2);
    check_plan(1, 0, NULL, 0);
    check_plan(1, 1, one, 1);
}

static void keeps_the_order_of_unequal_transmissions(void **state)
{
    static const size_t lens[] = { 5, 16000, 300, 70, 16361, 1, 9000, 9000 };
    static const size_t want[] = { 0, 2, 4, 5, 7 };
    size_t first[SX_COUNT(lens)], blocks;

    (void)state;
    assert_int_equal(sx_batch_plan(lens, SX_COUNT(lens), first, &blocks), SIMPLEX_OK);
    assert_int_equal(blocks, SX_COUNT(want));
    assert_memory_equal(first, want, sizeof want);
}

static void refuses_a_transmission_that_no_block_holds(void **state)
{
    static const size_t lens[] = { 1, SX_BATCH_CONTENT - 1, 1 };
    static const size_t huge[] = { SIZE_MAX };
    size_t first[3], blocks;

    (void)state;
    assert_int_equal(sx_batch_plan(lens, 3, first, &blocks), SIMPLEX_E_TOO_LARGE);
    assert_int_equal(blocks, 0);
    assert_int_equal(sx_batch_plan(huge, 1, first, &blocks), SIMPLEX_E_TOO_LARGE);
}

static void refuses_malformed_batches(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } bad[] = { { "", 0 },         { "\0", 1 },       { "\1", 1 },         { "\1\0", 2 },
                { "\1\0\1", 3 },   { "\1\0\0x", 4 },  { "\2\0\0", 3 },     { "\0\0\0", 3 },
                { "\2\0\1ab", 5 }, { "\xff\0\0", 3 }, { "\1\xff\xffx", 4 } };
    struct sx_batch_rd b;
    simplex_bytes t;

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++) {
        assert_int_equal(sx_batch_open(sx_bytes(bad[i].text, bad[i].len), &b), SIMPLEX_E_BLOCK);
        assert_false(sx_batch_next(&b, &t));
    }
    assert_int_equal(sx_batch_open(LIT("\2\0\0\0\1x"), &b), SIMPLEX_OK);
    assert_true(sx_batch_next(&b, &t));
    assert_int_equal(t.len, 0);
    assert_true(sx_batch_next(&b, &t));
    assert_text(t, "x");
    assert_false(sx_batch_next(&b, &t));
}

static void limits_message_bodies_by_version(void **state)
{
    (void)state;
    assert_int_equal(sx_smp_max_send(6), 16088);
    assert_int_equal(sx_smp_max_send(7), 16088);
    assert_int_equal(sx_smp_max_send(8), 16064);
    assert_int_equal(sx_smp_max_send(10), 16064);
    assert_int_equal(sx_smp_max_send(11), 16048);
    assert_int_equal(sx_smp_max_send(19), 16048);
}

/* ---- handshake ---- */

static struct sx_client_hello client_hello(void)
{
    static const uint8_t hash[32];
    struct sx_client_hello h = { .version = 18, .key_hash = sx_bytes(hash, 32), .has_key = true };

    h.key = key_of(SX_X25519);
    h.has_service = true;
    h.service_role = 'M';
    h.certs[0] = LIT("cert");
    h.n_certs = 1;
    h.signed_key = LIT("key");
    return h;
}

static simplex_bytes hello_bytes(const struct sx_client_hello *h)
{
    struct sx_wr w = fixed();

    sx_client_hello_encode(&w, h);
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

static void refuses_client_hellos_that_are_cut(void **state)
{
    struct sx_client_hello h = client_hello(), got;
    simplex_bytes b = hello_bytes(&h);

    (void)state;
    assert_int_equal(sx_client_hello_decode(b, &got), SIMPLEX_OK);
    assert_int_equal(got.service_role, 'M');
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(sx_client_hello_decode(sx_bytes(b.ptr, n), &got), SIMPLEX_E_DECODE);
        assert_int_equal(got.n_certs, 0);
    }
}

static bool hello_bad(const struct sx_client_hello *h)
{
    struct sx_wr w = fixed();

    sx_client_hello_encode(&w, h);
    return w.bad;
}

static void refuses_impossible_client_hellos(void **state)
{
    struct sx_client_hello h = client_hello(), got;

    (void)state;
    h.service_role = 'X';
    assert_true(hello_bad(&h));
    h = client_hello();
    h.n_certs = SX_HELLO_CERTS_MAX + 1;
    assert_true(hello_bad(&h));
    h.n_certs = 0;
    assert_true(hello_bad(&h));
    h = client_hello();
    h.key_hash.len = 31;
    assert_true(hello_bad(&h));
    h = client_hello();
    h.key = key_of(SX_ED25519);
    assert_true(hello_bad(&h));

    h = client_hello();
    uint8_t *b = out;
    size_t len = hello_bytes(&h).len;
    b[2 + 1 + 32 + 1 + 8] = 0x70; /* the algorithm inside the key: Ed25519 */
    assert_int_equal(sx_client_hello_decode(sx_bytes(out, len), &got), SIMPLEX_E_DECODE);
    (void)hello_bytes(&h);
    b[2 + 1 + 32 + 45 + 1 + 1] = 'X'; /* the role */
    assert_int_equal(sx_client_hello_decode(sx_bytes(out, len), &got), SIMPLEX_E_DECODE);
    (void)hello_bytes(&h);
    b[2 + 1 + 32 + 45 + 1 + 1 + 1] = 0; /* the number of certificates */
    assert_int_equal(sx_client_hello_decode(sx_bytes(out, len), &got), SIMPLEX_E_DECODE);
}

static void refuses_impossible_server_hellos(void **state)
{
    struct sx_server_hello h = { .min = 6, .max = 18, .has_key = true, .n_certs = 1 }, got;
    struct sx_wr w = fixed();

    (void)state;
    h.certs[0] = LIT("cert");
    sx_server_hello_encode(&w, &h);
    assert_false(w.bad);
    simplex_bytes b = sx_wr_bytes(&w);
    assert_int_equal(sx_server_hello_decode(b, &got), SIMPLEX_OK);
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(sx_server_hello_decode(sx_bytes(b.ptr, n), &got), SIMPLEX_E_DECODE);
    assert_int_equal(sx_server_hello_decode(LIT("\0\7\0\6\0"), &got), SIMPLEX_E_DECODE);
    assert_int_equal(sx_server_hello_decode(LIT("\0\6\0\7\0"), &got), SIMPLEX_E_DECODE);
    h.has_key = false;
    w = fixed();
    sx_server_hello_encode(&w, &h);
    assert_true(w.bad);
    h.has_key = true;
    h.min = 19;
    w = fixed();
    sx_server_hello_encode(&w, &h);
    assert_true(w.bad);
}

static void refuses_malformed_answers_to_services(void **state)
{
    static const char *const bad[] = { "",      "R",          "X",           "E",
                                       "EWHAT", "EHANDSHAKE", "EHANDSHAKE ", "R\4id" };
    struct sx_service_reply m;

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++) {
        assert_int_equal(sx_service_reply_decode(sx_str(bad[i]), &m), SIMPLEX_E_DECODE);
        assert_false(m.ok);
    }
    assert_int_equal(sx_service_reply_decode(LIT("EVERSION "), &m), SIMPLEX_OK);
    assert_int_equal(m.error.transport, SX_TRANSPORT_VERSION);
}

/* ---- bodies ---- */

static void accepts_message_flags_of_later_versions(void **state)
{
    struct sx_rcv_msg m;
    struct sx_cmd c;
    struct sx_smp_err err;

    (void)state;
    assert_int_equal(sx_rcv_msg_decode(LIT("\0\0\0\0\0\0\0\5Tabcdef body"), &m), SIMPLEX_OK);
    assert_int_equal(m.ts_s, 5);
    assert_true(m.notify);
    assert_text(m.body, "body");
    assert_int_equal(sx_rcv_msg_decode(LIT("\0\0\0\0\0\0\0\5F "), &m), SIMPLEX_OK);
    assert_int_equal(m.body.len, 0);
    assert_int_equal(sx_rcv_msg_decode(LIT("\0\0\0\0\0\0\0\5X body"), &m), SIMPLEX_E_DECODE);
    assert_int_equal(sx_rcv_msg_decode(LIT("\0\0\0\0\0\0\0\5Tbody"), &m), SIMPLEX_E_DECODE);
    assert_int_equal(sx_rcv_msg_decode(LIT("\0\0\0\0\0\0\0"), &m), SIMPLEX_E_DECODE);
    assert_int_equal(sx_rcv_msg_decode(LIT("QUOTA \0\0\0\0\0\0\0"), &m), SIMPLEX_E_DECODE);
    assert_int_equal(sx_rcv_msg_decode(LIT("QUOTA \0\0\0\0\0\0\0\1x"), &m), SIMPLEX_E_DECODE);
    assert_int_equal(sx_cmd_decode(LIT("SEND Fnew  x"), 18, &c, &err), SIMPLEX_OK);
    assert_false(c.send.notify);
    assert_text(c.send.body, " x");
}

static void refuses_cut_bodies(void **state)
{
    struct sx_ntf_meta meta;
    struct sx_fwd_transmission ft;
    struct sx_fwd_response fr;

    (void)state;
    assert_int_equal(sx_ntf_meta_decode(LIT("\1a\0\0\0\0\0\0\0"), &meta), SIMPLEX_E_DECODE);
    assert_int_equal(sx_ntf_meta_decode(LIT("\1a\0\0\0\0\0\0\0\1later"), &meta), SIMPLEX_OK);
    assert_int_equal(sx_fwd_transmission_decode(LIT("\1a\0\x12\1k"), &ft), SIMPLEX_E_DECODE);
    assert_int_equal(sx_fwd_response_decode(LIT("\2a"), &fr), SIMPLEX_E_DECODE);
    assert_int_equal(sx_fwd_response_decode(LIT(""), &fr), SIMPLEX_E_DECODE);
}

static void reports_a_full_or_missing_buffer(void **state)
{
    struct sx_cmd c = full_new();
    struct sx_wr w;

    (void)state;
    sx_wr_fixed(&w, out, 10);
    sx_cmd_encode(&w, &c, 18);
    assert_true(w.bad);
    sx_wr_init(&w, 1000);
    sx_fault_malloc(0);
    sx_cmd_encode(&w, &c, 18);
    assert_true(sx_fault_disarm());
    assert_true(w.bad);
    sx_wr_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_commands_that_are_cut_or_too_long),
        cmocka_unit_test(refuses_unknown_tags),
        cmocka_unit_test(version_19_sends_count_and_hash_of_the_queues),
        cmocka_unit_test(version_19_confirms_count_and_hash_of_the_queues),
        cmocka_unit_test(asks_for_the_credentials_of_the_table),
        cmocka_unit_test(does_not_write_what_would_be_refused),
        cmocka_unit_test(command_keys_are_of_the_allowed_kinds),
        cmocka_unit_test(reads_the_keys_of_a_list_one_by_one),
        cmocka_unit_test(resolves_only_names_with_labels),
        cmocka_unit_test(refuses_responses_that_are_cut_or_unknown),
        cmocka_unit_test(checks_ranges_and_chains_of_relays),
        cmocka_unit_test(carries_service_signatures_since_version_16),
        cmocka_unit_test(knows_authorisations_by_their_length),
        cmocka_unit_test(fills_the_last_blocks_first),
        cmocka_unit_test(keeps_the_order_of_unequal_transmissions),
        cmocka_unit_test(refuses_a_transmission_that_no_block_holds),
        cmocka_unit_test(refuses_malformed_batches),
        cmocka_unit_test(limits_message_bodies_by_version),
        cmocka_unit_test(refuses_client_hellos_that_are_cut),
        cmocka_unit_test(refuses_impossible_client_hellos),
        cmocka_unit_test(refuses_impossible_server_hellos),
        cmocka_unit_test(refuses_malformed_answers_to_services),
        cmocka_unit_test(accepts_message_flags_of_later_versions),
        cmocka_unit_test(refuses_cut_bodies),
        cmocka_unit_test(reports_a_full_or_missing_buffer),
    };

    return cmocka_run_group_tests_name("wire_smp", tests, NULL, NULL);
}
