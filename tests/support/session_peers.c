/* SPDX-License-Identifier: Apache-2.0 */
#include "support/session_peers.h"

#include "support/vec.h"

struct test_certs certs, other;

const uint8_t unique[32] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

int set_up(void **state)
{
    (void)state;
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    test_certs_make(SX_ED25519, 2, &certs);
    test_certs_make(SX_ED448, 3, &other);
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    test_certs_free(&certs);
    test_certs_free(&other);
    return 0;
}

void configure(struct peers *p)
{
    *p = (struct peers){
        .cc = { .session_id = sx_bytes(unique, 32),
                .key_hash = certs.fingerprint,
                .chain = &certs.chain,
                .alpn = true },
        .sc = { .session_id = sx_bytes(unique, 32),
                .key_hash = certs.fingerprint,
                .chain = &certs.chain,
                .leaf = &certs.leaf,
                .alpn = true },
    };
}

/* Makes both sessions, the server's hello in p->hello. */
void start(struct peers *p)
{
    assert_int_equal(sx_session_client(&p->c, &p->cc), SIMPLEX_OK);
    assert_int_equal(sx_session_server(&p->s, &p->sc, p->hello), SIMPLEX_OK);
    assert_int_equal(p->c.state, SX_S_WAIT_HELLO);
    assert_int_equal(p->s.state, SX_S_WAIT_HELLO);
}

simplex_rc feed_client(struct peers *p)
{
    simplex_bytes content;
    bool has_reply;
    simplex_rc rc = sx_session_input(&p->c, p->hello, p->answer, &has_reply, &content);

    assert_int_equal(has_reply, rc == SIMPLEX_OK);
    assert_int_equal(content.len, 0);
    assert_int_equal(p->c.state, rc == SIMPLEX_OK ? SX_S_READY : SX_S_FAILED);
    return rc;
}

simplex_rc feed_server(struct peers *p)
{
    uint8_t reply[SX_BLOCK];
    simplex_bytes content;
    bool has_reply;
    simplex_rc rc = sx_session_input(&p->s, p->answer, reply, &has_reply, &content);

    assert_false(has_reply);
    assert_int_equal(content.len, 0);
    assert_int_equal(p->s.state, rc == SIMPLEX_OK ? SX_S_READY : SX_S_FAILED);
    return rc;
}

void connect_peers(struct peers *p)
{
    start(p);
    assert_int_equal(feed_client(p), SIMPLEX_OK);
    assert_int_equal(feed_server(p), SIMPLEX_OK);
    assert_int_equal(p->c.version, p->s.version);
    assert_int_equal(p->c.encrypted, p->s.encrypted);
}

void connected(struct peers *p)
{
    configure(p);
    connect_peers(p);
}

static void send_content(struct sx_session *from, struct sx_session *to, size_t len)
{
    static uint8_t data[SX_BLOCK], block[SX_BLOCK];
    simplex_bytes got;
    bool has_reply;

    sx_random(data, len);
    assert_int_equal(sx_session_seal(from, sx_bytes(data, len), block), SIMPLEX_OK);
    assert_int_equal(sx_session_input(to, block, NULL, &has_reply, &got), SIMPLEX_OK);
    assert_false(has_reply);
    vec_assert_eq(got, sx_bytes(data, len), "content");
}

void exchange(struct peers *p)
{
    for (unsigned i = 0; i < 3; i++) {
        send_content(&p->c, &p->s, 0);
        send_content(&p->s, &p->c, 1000);
        send_content(&p->c, &p->s, sx_session_room(&p->c));
        send_content(&p->s, &p->c, sx_session_room(&p->s));
    }
}
