/* SPDX-License-Identifier: Apache-2.0 */
/* A server that makes its client write and reads nothing of it (protocol/smp.md section 3). */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "client/smp_client.h"
#include "support/certs.h"
#include "support/vec.h"

#define MANY 300000 /* requests for new keys: the answers are 8 MB */

struct flood {
    struct test_certs certs;
    int listener;
    uint16_t port;
    unsigned sent;
};

/* Small windows: the system is to hold little of what nobody reads. */
static void listen_at(struct flood *f)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(at);
    int window = 4096, mss = 536;

    f->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(f->listener >= 0);
    (void)setsockopt(f->listener, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window));
    (void)setsockopt(f->listener, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss));
    assert_int_equal(bind(f->listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(listen(f->listener, 1), 0);
    f->port = ntohs(at.sin_port);
}

static SSL *tls_of(const struct test_certs *own)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    BIO *pem = BIO_new_mem_buf(own->key_pem.p, (int)own->key_pem.len);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, NULL, NULL);

    BIO_free(pem);
    for (size_t i = 0; i < own->chain.count; i++) {
        const uint8_t *p = own->chain.cert[i].ptr;
        X509 *x = d2i_X509(NULL, &p, (long)own->chain.cert[i].len);
        (void)(i == 0 ? SSL_CTX_use_certificate(c, x) : SSL_CTX_add1_chain_cert(c, x));
        X509_free(x);
    }
    (void)SSL_CTX_use_PrivateKey(c, key);
    EVP_PKEY_free(key);
    SSL *ssl = SSL_new(c);
    SSL_CTX_free(c);
    return ssl;
}

/* Writes until the client is gone, or has taken all; not so much at a time that the client could
 * see from that alone what it is about. */
static void *flood(void *arg)
{
    struct flood *f = arg;
    SSL *ssl = tls_of(&f->certs);
    int fd = accept(f->listener, NULL, NULL);

    if (SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1) {
        while (f->sent < MANY && SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 &&
               SSL_do_handshake(ssl) == 1) {
            if (++f->sent % 500 == 0)
                usleep(20000);
        }
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

struct client {
    uv_loop_t loop;
    struct sx_net *net;
    simplex_rc rc;
    bool down;
};

static void on_closed(void *user)
{
    (void)user;
}

static void on_down(void *user, struct sx_client *c, simplex_rc rc)
{
    struct client *t = user;

    (void)c;
    t->rc = rc;
    t->down = true;
    sx_net_close(t->net, on_closed, t);
}

static void leaves_a_server_that_makes_it_write_and_reads_nothing(void **state)
{
    static const struct sx_net_callbacks callbacks = { .down = on_down };
    struct sx_net_cfg cfg = { .connect_timeout = 300000 };
    struct sx_server server = { .n_hosts = 1 };
    struct client t = { .down = false };
    struct sx_client *c;
    struct flood f = { .sent = 0 };
    pthread_t thread;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    test_certs_make(SX_ED25519, 2, &f.certs);
    listen_at(&f);
    assert_int_equal(sx_host_parse(sx_str("127.0.0.1"), &server.hosts[0]), SIMPLEX_OK);
    snprintf(server.port, sizeof(server.port), "%u", (unsigned)f.port);
    memcpy(server.key_hash, f.certs.fingerprint, sizeof(server.key_hash));
    assert_int_equal(uv_loop_init(&t.loop), 0);
    assert_int_equal(sx_net_open(&t.loop, &cfg, &callbacks, &t, "user", &t.net), SIMPLEX_OK);
    assert_int_equal(sx_net_client(t.net, &server, &c), SIMPLEX_OK);
    assert_int_equal(pthread_create(&thread, NULL, flood, &f), 0);
    sx_client_want(c, true);
    assert_int_equal(uv_run(&t.loop, UV_RUN_DEFAULT), 0);
    pthread_join(thread, NULL);
    assert_true(t.down);
    assert_int_equal(t.rc, SIMPLEX_E_TLS);
    assert_in_range(f.sent, 1, MANY - 1);
    assert_int_equal(uv_loop_close(&t.loop), 0);
    close(f.listener);
    test_certs_free(&f.certs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_a_server_that_makes_it_write_and_reads_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
