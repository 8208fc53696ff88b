/* SPDX-License-Identifier: Apache-2.0 */
/* The server over real sockets: its ports, its chains, its start, and what changes while it
 * runs. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "file.h"
#include "identity.h"
#include "support/running_server.h"
#include "support/certs.h"
#include "support/free_port.h"
#include "support/reference_certs.h"

struct server {
    simplex_server *s;
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
};

static void start(struct server *t, simplex_server_config *cfg)
{
    t->s = run_server(cfg, t->key_hash, &t->peer);
}

static int socket_on(int family, uint16_t *port)
{
    struct sockaddr_in at4 = { .sin_family = AF_INET };
    struct sockaddr_in6 at6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr *at = family == AF_INET ? (struct sockaddr *)&at4 : (struct sockaddr *)&at6;
    socklen_t len = family == AF_INET ? sizeof(at4) : sizeof(at6);
    int fd = socket(family, SOCK_STREAM, 0);

    at4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && bind(fd, at, len) == 0 && getsockname(fd, at, &len) == 0) {
        *port = ntohs(family == AF_INET ? at4.sin_port : at6.sin6_port);
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static void assert_serves(struct server *t, uint16_t port)
{
    struct smp_peer_cfg cfg = t->peer;
    struct sx_cmd ping = { .tag = SX_PING };
    struct smp_peer p;

    cfg.port = port;
    assert_int_equal(smp_peer_open(&p, &cfg), SIMPLEX_OK);
    const struct sx_rsp *r = smp_peer_cmd(&p, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&p);
}

/* ---- ports ---- */

static void listens_on_several_ports(void **state)
{
    const uint16_t more[] = { free_port(), free_port() };
    simplex_server_config cfg;
    struct server t;

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.threads = 2;
    cfg.more_ports = more;
    cfg.n_more_ports = SX_COUNT(more);
    start(&t, &cfg);
    assert_serves(&t, simplex_server_port(t.s));
    for (size_t i = 0; i < SX_COUNT(more); i++)
        assert_serves(&t, more[i]);
    simplex_server_stop(t.s);
}

static void a_port_that_is_taken_stops_the_start(void **state)
{
    char error[300] = "";
    uint16_t taken;
    int fd = socket_on(AF_INET, &taken);
    simplex_server_config cfg;
    simplex_server *s;

    (void)state;
    assert_true(fd >= 0 && listen(fd, 1) == 0);
    simplex_server_config_init(&cfg);
    cfg.more_ports = &taken;
    cfg.n_more_ports = 1;
    cfg.error = error;
    cfg.error_size = sizeof(error);
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(error, "another program has this port"));
    cfg.n_more_ports = 16;
    uint16_t many[16] = { 0 };
    cfg.more_ports = many;
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_ARG);
    assert_non_null(strstr(error, "at most 16 ports"));
    close(fd);
}

static void listens_on_all_addresses_of_both_kinds(void **state)
{
    simplex_server_config cfg;
    uint16_t port;
    struct server t;

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.host = "*";
    cfg.public_host = "smp.example.org";
    start(&t, &cfg);
    assert_serves(&t, simplex_server_port(t.s)); /* IPv4 */
    int has_ipv6 = socket_on(AF_INET6, &port);
    if (has_ipv6 >= 0) {
        struct sockaddr_in6 at = { .sin6_family = AF_INET6,
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                                   .sin6_port = htons(simplex_server_port(t.s)) };
        close(has_ipv6);
        int fd = socket(AF_INET6, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
        close(fd);
    }
    simplex_server_stop(t.s);
}

/* ---- chains ---- */

static void put(const char *dir, const char *name, simplex_bytes text)
{
    struct sx_errtext none = { 0 };

    assert_int_equal(sx_file_write(dir, name, text, 0600, &none), SIMPLEX_OK);
}

static void put_chain(const char *dir, const struct test_certs *t)
{
    struct sx_wr leaf, rest, fingerprint;
    uint8_t buf[64];

    sx_wr_init(&leaf, 65536);
    sx_wr_init(&rest, 65536);
    sx_wr_fixed(&fingerprint, buf, sizeof(buf));
    sx_pem_cert(&leaf, t->chain.cert[0]);
    for (size_t i = 1; i < t->chain.count; i++)
        sx_pem_cert(&rest, t->chain.cert[i]);
    sx_identity_print(t->fingerprint, &fingerprint);
    put(dir, SX_SERVER_CERT, sx_wr_bytes(&leaf));
    put(dir, SX_CA_CERT, sx_wr_bytes(&rest));
    put(dir, SX_SERVER_KEY, sx_wr_bytes(&t->key_pem));
    put(dir, SX_FINGERPRINT, sx_wr_bytes(&fingerprint));
    sx_wr_free(&leaf);
    sx_wr_free(&rest);
}

static void remove_dir(const char *dir)
{
    char cmd[96];

    snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    assert_int_equal(system(cmd), 0);
}

/* The client compares the fingerprint of the second certificate with the address. */
static void clients_take_chains_of_two_to_four_certificates(void **state)
{
    (void)state;
    for (size_t count = 2; count <= 4; count++) {
        char dir[] = "/tmp/simplex-server-XXXXXX";
        simplex_server_config cfg;
        struct test_certs certs;
        struct server t;

        assert_non_null(mkdtemp(dir));
        test_certs_make(count % 2 == 0 ? SX_ED448 : SX_ED25519, count, &certs);
        put_chain(dir, &certs);
        simplex_server_config_init(&cfg);
        cfg.dir = dir;
        cfg.no_new_identity = true;
        start(&t, &cfg);
        t.peer.key_hash = certs.fingerprint;
        assert_serves(&t, simplex_server_port(t.s));
        simplex_server_stop(t.s);
        test_certs_free(&certs);
        remove_dir(dir);
    }
}

static void clients_take_the_ed448_chain_of_the_reference(void **state)
{
    char dir[] = "/tmp/simplex-server-XXXXXX";
    simplex_server_config cfg;
    struct server t;

    (void)state;
    assert_non_null(mkdtemp(dir));
    put(dir, SX_SERVER_CERT, sx_str(reference_server_crt));
    put(dir, SX_CA_CERT, sx_str(reference_ca_crt));
    put(dir, SX_SERVER_KEY, sx_str(reference_server_key));
    put(dir, SX_FINGERPRINT, sx_str(reference_fingerprint));
    simplex_server_config_init(&cfg);
    cfg.dir = dir;
    cfg.no_new_identity = true;
    start(&t, &cfg);
    assert_serves(&t, simplex_server_port(t.s));
    simplex_server_stop(t.s);
    remove_dir(dir);
}

static void makes_no_identity_when_told_not_to(void **state)
{
    char dir[] = "/tmp/simplex-server-XXXXXX", error[300] = "";
    simplex_server_config cfg;
    simplex_server *s;

    (void)state;
    assert_non_null(mkdtemp(dir));
    simplex_server_config_init(&cfg);
    cfg.dir = dir;
    cfg.no_new_identity = true;
    cfg.error = error;
    cfg.error_size = sizeof(error);
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(error, "server.crt"));
    assert_int_equal(rmdir(dir), 0);
    cfg.dir = NULL;
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_ARG);
}

/* ---- starting and not starting ---- */

static void keeps_its_identity_in_a_directory(void **state)
{
    char dir[] = "/tmp/simplex-server-XXXXXX";
    uint8_t first[32];
    char error[300] = "", address[2][400];
    simplex_server_config cfg;
    struct server t;
    simplex_server *s;

    (void)state;
    assert_non_null(mkdtemp(dir));
    simplex_server_config_init(&cfg);
    cfg.port = free_port();
    cfg.dir = dir;
    cfg.password = "secret";
    for (int i = 0; i < 2; i++) {
        size_t len = sizeof(address[i]);
        start(&t, &cfg);
        assert_int_equal(simplex_server_address(t.s, address[i], &len), SIMPLEX_OK);
        assert_int_equal(len, strlen(address[i]));
        len = 10;
        assert_int_equal(simplex_server_address(t.s, address[0], &len), SIMPLEX_E_BUFFER);
        assert_int_equal(len, strlen(address[i]));
        if (i == 0)
            memcpy(first, t.key_hash, 32);
        else
            assert_memory_equal(first, t.key_hash, 32);
        simplex_server_stop(t.s);
    }
    assert_string_equal(address[0], address[1]);
    assert_non_null(strstr(address[0], ":secret@127.0.0.1:"));

    put(dir, SX_FINGERPRINT, sx_str("c29tZXRoaW5nIGVsc2Ugb2YgdGhlIHNhbWUgc2l6ZS4=\n"));
    cfg.error = error;
    cfg.error_size = sizeof(error);
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_FINGERPRINT);
    assert_null(s);
    assert_non_null(strstr(error, "fingerprint"));
    remove_dir(dir);
}

static void says_why_it_cannot_start(void **state)
{
    char error[300] = "";
    simplex_server_config cfg;
    struct server t;
    simplex_server *s;

    (void)state;
    simplex_server_config_init(&cfg);
    start(&t, &cfg);
    cfg.error = error;
    cfg.error_size = sizeof(error);
    cfg.port = simplex_server_port(t.s);
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_SYSTEM);
    assert_null(s);
    assert_non_null(strstr(error, "another program has this port"));
    simplex_server_stop(t.s);
    cfg.host = "nowhere";
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_ARG);
    cfg.host = NULL;
    cfg.password = "with space";
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_ARG);
    assert_non_null(strstr(error, "password"));
    cfg.password = NULL;
    cfg.max_version = 99;
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_ARG);
    cfg.max_version = 0;
    cfg.dir = "/proc/none/such";
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(error, "/proc/none/such"));
    cfg.size = 1;
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_ARG);
    assert_null(s);
    simplex_server_stop(NULL);
}

/* ---- while it runs ---- */

static enum sx_rsp_tag ask_for_queue(struct smp_peer *p, const char *password)
{
    struct sx_keypair rcv, dh;
    struct sx_cmd c = { .tag = SX_NEW };

    assert_int_equal(sx_keypair_new(SX_ED25519, &rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &dh), SIMPLEX_OK);
    c.new_.auth = rcv.pub;
    c.new_.dh = dh.pub;
    c.new_.mode = SX_MODE_MESSAGING;
    c.new_.has_password = password != NULL;
    if (password != NULL)
        c.new_.password = sx_str(password);
    const struct sx_rsp *r = smp_peer_cmd(p, &rcv, sx_bytes(NULL, 0), &c);
    assert_non_null(r);
    return r->tag;
}

/* A queue; its ids are there until the peer is closed. */
static struct sx_rsp make_queue(struct smp_peer *p, struct sx_keypair *rcv)
{
    struct sx_cmd c = { .tag = SX_NEW };
    struct sx_keypair dh;

    assert_int_equal(sx_keypair_new(SX_ED25519, rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &dh), SIMPLEX_OK);
    c.new_.auth = rcv->pub;
    c.new_.dh = dh.pub;
    c.new_.mode = SX_MODE_MESSAGING;
    const struct sx_rsp *r = smp_peer_cmd(p, rcv, sx_bytes(NULL, 0), &c);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_IDS);
    return *r;
}

static void notified(struct smp_peer *p, const struct sx_keypair *rcv, const struct sx_rsp *ids,
                     struct sx_keypair *key)
{
    struct sx_cmd c = { .tag = SX_NKEY }, nsub = { .tag = SX_NSUB };
    struct sx_keypair dh;

    assert_int_equal(sx_keypair_new(SX_ED25519, key), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &dh), SIMPLEX_OK);
    c.nkey.auth = key->pub;
    c.nkey.dh = dh.pub;
    const struct sx_rsp *r = smp_peer_cmd(p, rcv, ids->ids.rcv_id, &c);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_NID);
    r = smp_peer_cmd(p, key, r->nid.ntf_id, &nsub);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_SOK);
}

static void expect_event(struct smp_peer *p, enum sx_rsp_tag tag)
{
    const struct smp_item *event = smp_peer_event(p, 20000);

    assert_non_null(event);
    assert_int_equal(event->rsp.tag, tag);
}

/* END, notifications and expiry wait for minutes, until the operator changes that. */
static void a_reload_changes_the_intervals(void **state)
{
    struct sx_cmd sub = { .tag = SX_SUB };
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("x"), .notify = true } };
    simplex_server_config cfg;
    struct sx_keypair rcv, ntf;
    struct server t;
    struct smp_peer a, b;

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = cfg.ntf_flush_ms = cfg.expire_interval_ms = 600000;
    cfg.expire_on_send = false;
    cfg.threads = 2;
    start(&t, &cfg);
    assert_int_equal(smp_peer_open(&a, &t.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&b, &t.peer), SIMPLEX_OK);
    const struct sx_rsp ids = make_queue(&a, &rcv);
    notified(&a, &rcv, &ids, &ntf);
    assert_int_equal(smp_peer_cmd(&a, &rcv, ids.ids.rcv_id, &sub)->tag, SX_R_SOK);
    assert_int_equal(smp_peer_cmd(&b, &rcv, ids.ids.rcv_id, &sub)->tag, SX_R_SOK);
    assert_int_equal(smp_peer_cmd(&b, NULL, ids.ids.snd_id, &send)->tag, SX_R_OK);
    expect_event(&b, SX_R_MSG);
    assert_null(smp_peer_event(&a, 300));
    cfg.ntf_flush_ms = 200;
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    expect_event(&a, SX_R_NMSG);
    assert_null(smp_peer_event(&a, 300));
    cfg.end_flush_ms = 0; /* at once, also what waits already */
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    expect_event(&a, SX_R_END);
    assert_int_equal(server_counters(t.s).messages, 1);
    cfg.message_ttl_ms = 1;
    cfg.expire_interval_ms = 300;
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    for (int i = 0; i < 1000 && server_counters(t.s).messages > 0; i++)
        usleep(20000);
    assert_int_equal(server_counters(t.s).messages, 0);
    smp_peer_close(&a);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

static void a_reload_changes_who_may_create_queues(void **state)
{
    simplex_server_config cfg;
    char address[400];
    struct server t;
    struct smp_peer p;
    size_t len = sizeof(address);

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.password = "one";
    start(&t, &cfg);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    assert_int_equal(ask_for_queue(&p, "one"), SX_R_IDS);
    cfg.password = "two";
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    assert_int_equal(ask_for_queue(&p, "one"), SX_R_ERR);
    assert_int_equal(ask_for_queue(&p, "two"), SX_R_IDS);
    assert_int_equal(simplex_server_address(t.s, address, &len), SIMPLEX_OK);
    assert_non_null(strstr(address, ":two@"));
    cfg.password = "with space"; /* refused: nothing changes */
    cfg.new_queues = false;
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_E_ARG);
    assert_int_equal(ask_for_queue(&p, "two"), SX_R_IDS);
    cfg.password = NULL;
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    assert_int_equal(ask_for_queue(&p, NULL), SX_R_ERR);
    cfg.new_queues = true;
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    assert_int_equal(ask_for_queue(&p, NULL), SX_R_IDS);
    smp_peer_close(&p);
    simplex_server_stop(t.s);
}

static void closes_clients_that_have_done_nothing_for_long(void **state)
{
    struct sx_keypair rcv, dh;
    struct sx_cmd c = { .tag = SX_NEW };
    simplex_server_config cfg;
    struct smp_peer idle, subscribed;
    struct server t;

    (void)state;
    simplex_server_config_init(&cfg);
    start(&t, &cfg);
    assert_int_equal(smp_peer_open(&idle, &t.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&subscribed, &t.peer), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED25519, &rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &dh), SIMPLEX_OK);
    c.new_.auth = rcv.pub;
    c.new_.dh = dh.pub;
    c.new_.mode = SX_MODE_MESSAGING;
    c.new_.subscribe = true;
    const struct sx_rsp *r = smp_peer_cmd(&subscribed, &rcv, sx_bytes(NULL, 0), &c);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_IDS);
    assert_false(smp_peer_wait_closed(&idle, 700)); /* off until the reload */
    cfg.inactive_ttl_ms = 100;
    cfg.inactive_check_ms = 1;
    assert_int_equal(simplex_server_reload(t.s, &cfg), SIMPLEX_OK);
    assert_true(smp_peer_wait_closed(&idle, 20000));
    assert_false(smp_peer_wait_closed(&subscribed, 700));
    smp_peer_close(&idle);
    smp_peer_close(&subscribed);
    simplex_server_stop(t.s);
}

static uint8_t send_message(struct smp_peer *p, simplex_bytes snd_id)
{
    static const uint8_t body[10000];
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_bytes(body, sizeof(body)) } };
    const struct sx_rsp *r = smp_peer_cmd(p, NULL, snd_id, &send);

    assert_non_null(r);
    return r->tag == SX_R_OK ? SX_ERR_NONE : r->err.err;
}

/* Room is there again when messages are gone, here with their queue. */
static void messages_take_so_much_memory(void **state)
{
    struct sx_cmd del = { .tag = SX_DEL };
    simplex_server_config cfg;
    struct sx_keypair rcv[2];
    struct server t;
    struct smp_peer p;

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.max_message_memory = 25000;
    start(&t, &cfg);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    struct sx_rsp a = make_queue(&p, &rcv[0]), b = make_queue(&p, &rcv[1]);
    assert_int_equal(send_message(&p, a.ids.snd_id), SX_ERR_NONE);
    assert_int_equal(send_message(&p, a.ids.snd_id), SX_ERR_NONE);
    assert_int_equal(send_message(&p, b.ids.snd_id), SX_ERR_NONE); /* the one that goes beyond */
    assert_int_equal(send_message(&p, b.ids.snd_id), SX_ERR_QUOTA);
    const struct sx_rsp *r = smp_peer_cmd(&p, &rcv[0], a.ids.rcv_id, &del);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_OK);
    assert_int_equal(send_message(&p, b.ids.snd_id), SX_ERR_NONE);
    smp_peer_close(&p);
    simplex_server_stop(t.s);
}

static int prepare(void **state)
{
    (void)state;
    return sx_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listens_on_several_ports),
        cmocka_unit_test(a_port_that_is_taken_stops_the_start),
        cmocka_unit_test(listens_on_all_addresses_of_both_kinds),
        cmocka_unit_test(clients_take_chains_of_two_to_four_certificates),
        cmocka_unit_test(clients_take_the_ed448_chain_of_the_reference),
        cmocka_unit_test(makes_no_identity_when_told_not_to),
        cmocka_unit_test(keeps_its_identity_in_a_directory),
        cmocka_unit_test(says_why_it_cannot_start),
        cmocka_unit_test(a_reload_changes_the_intervals),
        cmocka_unit_test(a_reload_changes_who_may_create_queues),
        cmocka_unit_test(messages_take_so_much_memory),
        cmocka_unit_test(closes_clients_that_have_done_nothing_for_long),
    };

    return cmocka_run_group_tests(tests, prepare, NULL);
}
