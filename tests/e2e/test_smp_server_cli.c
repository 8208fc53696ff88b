/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of smp-server, as an operator gives them (protocol/smp.md section 10). */
#include "support/vec.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "identity.h"
#include "support/blocking_client.h"
#include "support/program.h"

static char base[64], config_dir[96], state_dir[96];
static uint16_t port;

#define ARG(...) with_dirs((const char *const[]){ __VA_ARGS__, NULL })

/* The arguments and where the files are. */
static const char *const *with_dirs(const char *const *args)
{
    static const char *all[PROGRAM_ARGS_MAX + 1];
    size_t n = 0;

    for (; args[n] != NULL; n++)
        all[n] = args[n];
    assert_true(n + 4 < PROGRAM_ARGS_MAX);
    all[n++] = "--config";
    all[n++] = config_dir;
    all[n++] = "--state";
    all[n++] = state_dir;
    all[n] = NULL;
    return all;
}

static void expect(const char *const *args, const char *input, int status, const char *text)
{
    program_expect(SMP_SERVER, args, input, status, text);
}

static bool has_file(const char *name)
{
    return sx_file_exists(config_dir, name);
}

static char *read_text(const char *name)
{
    struct sx_errtext none = { 0 };
    struct sx_wr w;

    sx_wr_init(&w, 1 << 20);
    assert_int_equal(sx_file_read(config_dir, name, &w, &none), SIMPLEX_OK);
    char *text = vec_keep(w.len + 1);
    memcpy(text, w.p, w.len);
    text[w.len] = 0;
    sx_wr_free(&w);
    return text;
}

static void write_text(const char *name, const char *text)
{
    struct sx_errtext none = { 0 };

    assert_int_equal(sx_file_write(config_dir, name, sx_str(text), 0600, &none), SIMPLEX_OK);
}

/* Replaces the line of this key in smp-server.ini; returns the number of the line. */
static unsigned set_line(const char *key, const char *line)
{
    char *text = read_text("smp-server.ini"), *out = vec_keep(strlen(text) + strlen(line) + 2);
    unsigned number = 0, found = 0;
    size_t len = 0;

    for (const char *p = text; *p != 0;) {
        size_t n = strcspn(p, "\n") + 1;
        bool is = strncmp(p, key, strlen(key)) == 0 && p[strlen(key)] == ':';
        number++;
        if (is)
            found = number;
        len +=
            (size_t)(is ? sprintf(out + len, "%s\n", line) : sprintf(out + len, "%.*s", (int)n, p));
        p += n;
    }
    assert_int_not_equal(found, 0);
    write_text("smp-server.ini", out);
    return found;
}

static uint16_t free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void init_server(void)
{
    char line[64];

    expect(ARG("init", "-y", "--no-password", "-n", "smp.example.org"), NULL, 0,
           "Server initialized, please provide additional server information in ");
    port = free_port();
    snprintf(line, sizeof(line), "port: %u", port);
    set_line("port", line);
}

static void start_server(struct program *p)
{
    program_run(p, SMP_SERVER, ARG("start"), NULL);
    if (!program_read(p, "creating new queues"))
        fail_msg("%s", p->text);
}

static void stop_server(struct program *p, int signal_no)
{
    assert_int_equal(kill(p->pid, signal_no), 0);
    int status = program_end(p);
    if (status != 0 || strstr(p->text, "Server stopped.") == NULL)
        fail_msg("exit %d: %s", status, p->text);
}

/* What stands behind `name` in the output. */
static const char *printed(const struct program *p, const char *name)
{
    const char *at = strstr(p->text, name);

    if (at == NULL)
        fail_msg("no %s in: %s", name, p->text);
    at += strlen(name);
    size_t n = strcspn(at, "\n");
    char *copy = vec_keep(n + 1);
    memcpy(copy, at, n);
    copy[n] = 0;
    return copy;
}

/* A client takes the address that was printed, and is served. */
static void assert_served(const struct program *p, const char *password)
{
    struct sx_cmd ping = { .tag = SX_PING };
    struct sx_server address;
    simplex_bytes got;
    struct smp_peer c;

    const char *text = printed(p, "Server address: ");
    if (sx_server_parse(sx_str(text), &address, &got) != SIMPLEX_OK)
        fail_msg("no address: %s", text);
    vec_assert_eq(got, sx_str(password), "password");
    assert_int_equal(sx_server_port(&address), port);
    struct smp_peer_cfg cfg = { .port = port, .key_hash = address.key_hash };
    assert_int_equal(smp_peer_open(&c, &cfg), SIMPLEX_OK);
    const struct sx_rsp *r = smp_peer_cmd(&c, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&c);
}

/* ---- init ---- */

static void init_makes_a_server_that_starts(void **state)
{
    struct program p;
    const int signals[] = { SIGINT, SIGTERM };
    const char *fingerprint = NULL;

    (void)state;
    expect(ARG("start"), NULL, 1, "Error: server is not initialized (");
    init_server();
    struct sx_config config;
    char path[160];
    snprintf(path, sizeof(path), "%s/smp-server.ini", config_dir);
    assert_int_equal(sx_config_read(path, NULL, NULL, &config), SIMPLEX_OK);
    assert_true(config.store.enable);
    assert_string_equal(config.transport.host, "smp.example.org");
    sx_config_free(&config);
    for (size_t i = 0; i < SX_COUNT(signals); i++) { /* the identity stays */
        start_server(&p);
        assert_served(&p, "");
        if (fingerprint != NULL)
            assert_string_equal(printed(&p, "Fingerprint: "), fingerprint);
        fingerprint = printed(&p, "Fingerprint: ");
        stop_server(&p, signals[i]);
    }
    assert_memory_equal(read_text("fingerprint"), fingerprint, strlen(fingerprint));
}

static void start_says_what_it_serves(void **state)
{
    struct program p;
    char line[160];

    (void)state;
    init_server();
    uint16_t second = free_port();
    snprintf(line, sizeof(line), "port: %u,%u", port, second);
    set_line("port", line);
    start_server(&p);
    assert_int_equal(strncmp(p.text, "SMP server v", 12), 0);
    snprintf(line, sizeof(line), "@smp.example.org:%u,%u\n", port, second);
    assert_non_null(strstr(p.text, line));
    snprintf(line, sizeof(line), "Store log: %s/smp-server-store.log\n", state_dir);
    assert_non_null(strstr(p.text, line));
    snprintf(line, sizeof(line), "Serving SMP protocol on port %u (TLS)...\n", second);
    assert_non_null(strstr(p.text, line));
    assert_non_null(strstr(p.text, "Messages are on disk before they are answered OK.\n"));
    assert_non_null(strstr(p.text, "expiring messages after 21 days\n"));
    assert_non_null(strstr(p.text, "expiring clients inactive for 21600 seconds every 3600 "));
    assert_non_null(strstr(p.text, "creating new queues allowed\n"));
    assert_non_null(strstr(p.text, "the source code of the server is not specified"));
    stop_server(&p, SIGTERM);
    set_line("disconnect", "disconnect: off");
    set_line("new_queues", "new_queues: off");
    set_line("enable", "enable: off");
    set_line("# source_code", "source_code: https://example.org/source");
    set_line("expire_messages_days", "expire_messages_days: 1");
    start_server(&p);
    assert_non_null(strstr(p.text, "Store log disabled.\n"));
    assert_non_null(strstr(p.text, "not expiring inactive clients\n"));
    assert_non_null(strstr(p.text, "creating new queues NOT allowed\n"));
    assert_non_null(strstr(p.text, "Server source code: https://example.org/source\n"));
    assert_non_null(strstr(p.text, "expiring messages after 1 day\n"));
    stop_server(&p, SIGINT);
}

/* To a port on which nothing answers: what tells is whether it was tried. */
static void assert_prxy(const struct program *p, enum sx_err_proxy wanted)
{
    struct sx_cmd prxy = { .tag = SX_PRXY, .prxy = { .server = { .n_hosts = 1, .port = "1" } } };
    struct sx_server address;
    struct smp_peer c;

    assert_int_equal(sx_host_parse(sx_str("127.0.0.1"), &prxy.prxy.server.hosts[0]), SIMPLEX_OK);
    assert_int_equal(sx_server_parse(sx_str(printed(p, "Server address: ")), &address, NULL),
                     SIMPLEX_OK);
    struct smp_peer_cfg cfg = { .port = port, .key_hash = address.key_hash };
    assert_int_equal(smp_peer_open(&c, &cfg), SIMPLEX_OK);
    const struct sx_rsp *r = smp_peer_cmd(&c, NULL, sx_bytes(NULL, 0), &prxy);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_ERR);
    assert_int_equal(r->err.err, SX_ERR_PROXY);
    assert_int_equal(r->err.proxy, wanted);
    smp_peer_close(&c);
}

static void the_proxy_can_be_switched_off(void **state)
{
    struct program p;

    (void)state;
    init_server();
    start_server(&p);
    assert_prxy(&p, SX_PROXY_BROKER);
    stop_server(&p, SIGTERM);
    char *text = read_text("smp-server.ini"), *at = strstr(strstr(text, "[PROXY]"), "# enable: on");
    assert_non_null(at);
    memcpy(at, "enable: off ", 12);
    write_text("smp-server.ini", text);
    start_server(&p);
    assert_prxy(&p, SX_PROXY_BASIC_AUTH);
    stop_server(&p, SIGTERM);
}

static void init_is_refused_where_a_server_is(void **state)
{
    char path[160];

    (void)state;
    init_server();
    char *key = read_text("ca.key");
    expect(ARG("init", "-y"), NULL, 1, "Error: server is already initialized (");
    snprintf(path, sizeof(path), "%s/smp-server.ini", config_dir);
    assert_int_equal(unlink(path), 0);
    expect(ARG("init", "-y"), NULL, 1, "ca.key exists");
    assert_string_equal(read_text("ca.key"), key);
    assert_false(has_file("smp-server.ini"));
}

static void init_asks_what_options_do_not_say(void **state)
{
    (void)state;
    expect(ARG("init"), NULL, 1, "no answer");
    assert_false(has_file("ca.key"));
    expect(ARG("init"), "\nmaybe\nn\ny\na b\nsecret\nsmp.example.org\nhttps://example.org/s\n\n", 0,
           ":secret@smp.example.org:5223,443");
    const char *ini = read_text("smp-server.ini");
    assert_non_null(strstr(ini, "\nenable: off\n"));
    assert_non_null(strstr(ini, "\nlog_stats: on\n"));
    assert_non_null(strstr(ini, "\nsource_code: https://example.org/s\n"));
}

static void enter_takes_the_defaults(void **state)
{
    (void)state;
    expect(ARG("init", "-s"), "\n\n\n\n\n\n\n", 0, "@<hostnames>:5223,443");
    const char *ini = read_text("smp-server.ini");
    assert_non_null(strstr(ini, "\nenable: on\n"));
    assert_non_null(strstr(ini, "\nlog_stats: on\n"));
    const char *password = strstr(ini, "\ncreate_password: ");
    assert_non_null(password);
    assert_int_equal(strcspn(password + strlen("\ncreate_password: "), "\n"), 44);
}

static void init_takes_the_options_of_the_reference(void **state)
{
    (void)state;
    expect(ARG("init", "-d"), NULL, 2, "there is no database server");
    expect(ARG("init", "--pool-size", "4"), NULL, 2, "there is no database server");
    expect(ARG("init", "-a", "RSA"), NULL, 2, "ED25519 or ED448");
    expect(ARG("init", "--password", "a@b"), NULL, 2, "--password");
    expect(ARG("init", "--password", "a", "--no-password"), NULL, 2, "either --password");
    expect(ARG("init", "-l", "--disable-store-log"), NULL, 2, "either --store-log");
    expect(ARG("init", "--control-port", "0"), NULL, 2, "--control-port");
    expect(ARG("init", "--nothing"), NULL, 2, "--help");
    expect(ARG("init", "more"), NULL, 2, "unexpected argument \"more\"");
    expect(ARG("init", "-y", "--source-code=https://example.org", "--hosting", "H",
               "--hosting-country", "Sweden"),
           NULL, 2, "nothing was written");
    expect(ARG("init", "-y", "--operator", "O"), NULL, 2, "give --source-code as well");
    expect(ARG("init", "-y", "--source-code", "--operator-country", "SE"), NULL, 2,
           "--operator-country needs --operator");
    expect(ARG("init", "-y", "--source-code", "--hosting-country", "SE"), NULL, 2,
           "--hosting-country needs --hosting");
    assert_false(has_file("ca.key"));
    expect(ARG("init", "-y", "-l", "-a", "ED448", "--ip", "192.0.2.1", "--control-port", "5300",
               "--socks-proxy", "--disable-web", "--source-code=https://example.org"),
           NULL, 0, "@192.0.2.1:5223,443");
    const char *ini = read_text("smp-server.ini");
    assert_non_null(strstr(ini, "\ncontrol_port: 5300\n"));
    assert_non_null(strstr(ini, "\ncontrol_port_admin_password: "));
    assert_non_null(strstr(ini, "\nsocks_proxy: 127.0.0.1:9050\n"));
    struct sx_identity id;
    struct sx_errtext none = { 0 };
    assert_int_equal(sx_identity_read(&id, config_dir, &none), SIMPLEX_OK);
    assert_int_equal(id.leaf.pub.alg, SX_ED448);
    sx_identity_wipe(&id);
}

/* As the reference's container image does it. */
static void init_works_in_an_image_for_the_reference(void **state)
{
    struct sx_identity id;
    struct sx_errtext none = { 0 };
    char name[128];

    (void)state;
    expect(ARG("init", "--yes", "--store-log", "--daily-stats", "--source-code", "--ip",
               "2001:db8::1", "--no-password"),
           NULL, 0, "@[2001:db8::1]:5223,443");
    expect(ARG("delete"), "Y\n", 0, NULL);
    expect(ARG("init", "--yes", "--source-code", "--fqdn", "a.example.org,b.example.org",
               "--own-domains=example.org", "--password", "p"),
           NULL, 0, ":p@a.example.org,b.example.org:5223,443");
    assert_int_equal(sx_identity_read(&id, config_dir, &none), SIMPLEX_OK);
    assert_int_equal(sx_chain_leaf_name(&id.chain, name, sizeof(name)), SIMPLEX_OK);
    assert_string_equal(name, "a.example.org");
    sx_identity_wipe(&id);
}

/* ---- start ---- */

static void start_names_the_line_of_a_wrong_value(void **state)
{
    char text[64];

    (void)state;
    init_server();
    unsigned line = set_line("new_queues", "new_queues: maybe");
    snprintf(text, sizeof(text), "smp-server.ini:%u: [AUTH] new_queues: ", line);
    expect(ARG("start"), NULL, 1, text);
    set_line("new_queues", "new_queues: on");
    expect(ARG("start", "--log-level", "loud"), NULL, 2, "--log-level is trace");
    expect(ARG("start", "--dir", "x"), NULL, 2, "do not go with --config");
    expect(ARG("start", "-m", "--confirm-migrations", "up", "--compact-log"), NULL, 0,
           "Maintenance completed.");
    const char *const quick[] = { "start", "--port", "0", "--dir", config_dir, NULL };
    expect(quick, NULL, 2, "start it with `smp-server start --config ");
}

static void start_takes_its_directories_from_the_environment(void **state)
{
    static const char *const plain[] = { "start", NULL };
    struct program p;

    (void)state;
    init_server();
    assert_int_equal(setenv("SMP_SERVER_CFG_PATH", config_dir, 1), 0);
    assert_int_equal(setenv("SMP_SERVER_LOG_PATH", state_dir, 1), 0);
    program_run(&p, SMP_SERVER, plain, NULL);
    unsetenv("SMP_SERVER_CFG_PATH");
    unsetenv("SMP_SERVER_LOG_PATH");
    assert_true(program_read(&p, "creating new queues"));
    stop_server(&p, SIGINT);
}

static void start_refuses_another_identity(void **state)
{
    struct program p;

    (void)state;
    init_server();
    write_text("fingerprint", "4GRew_mCaKOS6bZcmmLXY0SmS5Ygy85kkg1PddI6vyU=\n");
    program_run(&p, SMP_SERVER, ARG("start"), NULL);
    assert_int_equal(program_end(&p), 1);
    const char *said = strstr(p.text, "Stored fingerprint is invalid.");
    assert_non_null(said);
    assert_null(strstr(said + 1, "Stored fingerprint is invalid.")); /* once */
    expect(ARG("cert"), NULL, 1, "Stored fingerprint is invalid.");
}

static void a_hang_up_reads_the_configuration_again(void **state)
{
    struct program p;
    char line[64];

    (void)state;
    init_server();
    start_server(&p);
    set_line("# create_password", "create_password: secret");
    set_line("expire_messages_days", "expire_messages_days: 14");
    set_line("# prometheus_interval", "prometheus_interval: 1");
    snprintf(line, sizeof(line), "port: %u,%u", port, free_port());
    set_line("port", line);
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    assert_true(program_read(&p, "Configuration reloaded: 4 changes."));
    assert_non_null(strstr(p.text, "message TTL: 21 days -> 14 days\n"));
    assert_non_null(strstr(p.text, "password to create queues: set\n"));
    assert_non_null(strstr(p.text, " (takes effect when the server is restarted)\n"));
    assert_null(strstr(p.text, "secret"));
    for (int i = 0; i < 500 && !sx_file_exists(state_dir, "smp-server-metrics.txt"); i++)
        usleep(20000);
    assert_true(sx_file_exists(state_dir, "smp-server-metrics.txt"));
    set_line("new_queues", "new_queues: perhaps");
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    assert_true(program_read(&p, "Configuration not reloaded"));
    set_line("new_queues", "new_queues: on");
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    assert_true(program_read(&p, "Configuration reloaded: 1 change.")); /* the port, still */
    assert_served(&p, "");
    stop_server(&p, SIGTERM);
}

/* ---- cert ---- */

static void cert_keeps_the_identity(void **state)
{
    char path[160], kept[160];
    struct program p;

    (void)state;
    init_server();
    const char *cert = read_text("server.crt"), *fingerprint = read_text("fingerprint");
    expect(ARG("cert"), NULL, 0, "Generated new server credentials for smp.example.org (ED25519)");
    assert_string_not_equal(read_text("server.crt"), cert);
    assert_string_equal(read_text("fingerprint"), fingerprint);
    expect(ARG("cert", "-a", "ED448", "--cn", "b.example.org"), NULL, 0,
           "Generated new server credentials for b.example.org (ED448)");
    snprintf(path, sizeof(path), "%s/ca.key", config_dir);
    snprintf(kept, sizeof(kept), "%s/offline", base);
    assert_int_equal(rename(path, kept), 0);
    expect(ARG("cert"), NULL, 1, "ca.key is not there");
    start_server(&p); /* the key of the CA is not needed for it */
    assert_served(&p, "");
    assert_memory_equal(fingerprint, printed(&p, "Fingerprint: "), 44);
    stop_server(&p, SIGTERM);
    assert_int_equal(rename(kept, path), 0);
    expect(ARG("cert"), NULL, 0, "b.example.org (ED448)");
}

static void cert_needs_a_server(void **state)
{
    (void)state;
    expect(ARG("cert"), NULL, 1, "ca.crt does not exist: run `smp-server init`");
    expect(ARG("cert", "-a", "x"), NULL, 2, "ED25519 or ED448");
    expect(ARG("cert", "--help"), NULL, 0, "Usage: smp-server cert");
}

/* ---- messages ---- */

struct queue {
    struct sx_keypair rcv, dh;
    uint8_t rcv_id[24], snd_id[24];
};

static void open_client(struct smp_peer *c, const struct program *p)
{
    struct sx_server address;
    simplex_bytes password;

    assert_int_equal(sx_server_parse(sx_str(printed(p, "Server address: ")), &address, &password),
                     SIMPLEX_OK);
    struct smp_peer_cfg cfg = { .port = port, .key_hash = address.key_hash };
    assert_int_equal(smp_peer_open(c, &cfg), SIMPLEX_OK);
}

/* A queue with so many messages in it. */
static void fill_queue(const struct program *p, struct queue *q, int messages)
{
    struct sx_cmd new = { .tag = SX_NEW }, send = { .tag = SX_SEND };
    struct smp_peer c;

    open_client(&c, p);
    assert_int_equal(sx_keypair_new(SX_ED25519, &q->rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &q->dh), SIMPLEX_OK);
    new.new_.auth = q->rcv.pub;
    new.new_.dh = q->dh.pub;
    new.new_.mode = SX_MODE_MESSAGING;
    const struct sx_rsp *r = smp_peer_cmd(&c, &q->rcv, sx_bytes(NULL, 0), &new);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_IDS);
    memcpy(q->rcv_id, r->ids.rcv_id.ptr, sizeof(q->rcv_id));
    memcpy(q->snd_id, r->ids.snd_id.ptr, sizeof(q->snd_id));
    send.send.body = sx_str("kept");
    for (int i = 0; i < messages; i++) {
        r = smp_peer_cmd(&c, NULL, sx_bytes(q->snd_id, sizeof(q->snd_id)), &send);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_OK);
    }
    smp_peer_close(&c);
}

static void assert_has_message(const struct program *p, const struct queue *q)
{
    struct sx_cmd sub = { .tag = SX_SUB };
    struct smp_peer c;

    open_client(&c, p);
    const struct sx_rsp *r =
        smp_peer_cmd(&c, &q->rcv, sx_bytes(q->rcv_id, sizeof(q->rcv_id)), &sub);
    assert_non_null(r);
    if (r->tag == SX_R_SOK) { /* the message follows */
        const struct smp_item *event = smp_peer_event(&c, 20000);
        assert_non_null(event);
        r = &event->rsp;
    }
    assert_int_equal(r->tag, SX_R_MSG);
    smp_peer_close(&c);
}

static void assert_state_files(bool has_log, bool has_bak)
{
    assert_int_equal(sx_file_exists(state_dir, "smp-server-messages.log"), has_log);
    assert_int_equal(sx_file_exists(state_dir, "smp-server-messages.log.bak"), has_bak);
}

static void messages_go_to_the_file_of_the_reference_and_back(void **state)
{
    struct program p;
    struct queue q;

    (void)state;
    init_server();
    expect(ARG("messages", "import"), NULL, 1, "there is nothing to import");
    expect(ARG("messages"), NULL, 2, "messages takes export or import");
    start_server(&p);
    fill_queue(&p, &q, 3);
    expect(ARG("messages", "export"), NULL, 1, NULL); /* the server has the files */
    stop_server(&p, SIGTERM);
    for (int round = 0; round < 2; round++) { /* a second journal does not meet the first's .bak */
        expect(ARG("messages", "export"), NULL, 0, "3 messages are in ");
        assert_state_files(true, true);
        expect(ARG("messages", "import"), NULL, 0, "3 messages are in the journal");
        assert_state_files(false, true);
    }
    expect(ARG("start", "--maintenance"), NULL, 0, "Maintenance completed.");
    start_server(&p);
    assert_has_message(&p, &q);
    stop_server(&p, SIGTERM);
    expect(ARG("messages", "export"), NULL, 0, "3 messages are in ");
    set_line("# store_messages", "store_messages: memory");
    start_server(&p);
    assert_has_message(&p, &q);
    stop_server(&p, SIGTERM);
    assert_state_files(true, true);
}

/* Maintenance by root leaves files that a server of another user can read. */
static void root_works_as_the_owner_of_the_state(void **state)
{
    enum { OWNER = 12345 };
    struct stat st;
    char path[160];

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(base, 0755), 0);
    assert_int_equal(mkdir(config_dir, 0755), 0);
    assert_int_equal(mkdir(state_dir, 0700), 0);
    assert_int_equal(chown(config_dir, OWNER, OWNER), 0);
    assert_int_equal(chown(state_dir, OWNER, OWNER), 0);
    init_server();
    /* A process that changed its user cannot be looked into, not even by its own leak checker. */
    assert_int_equal(setenv("LSAN_OPTIONS", "detect_leaks=0", 1), 0);
    expect(ARG("start", "-m"), NULL, 0, "Maintenance completed.");
    expect(ARG("messages", "export"), NULL, 0, "0 messages are in ");
    static const char *const names[] = { "smp-server-store.log", "smp-server-messages.log" };
    for (size_t i = 0; i < SX_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", state_dir, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_uid, OWNER);
    }
    expect(ARG("delete"), "Y\n", 0, "Deleted configuration");
    unsetenv("LSAN_OPTIONS");
}

/* ---- delete ---- */

static void delete_wants_the_answer_y(void **state)
{
    static const char *const other[] = { NULL, "n\n", "y\n", "Yes\n", "Y", "\n" };
    char path[160];

    (void)state;
    expect(ARG("delete"), "Y\n", 1, "has no files of a server");
    init_server();
    snprintf(path, sizeof(path), "%s/messages", state_dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/messages/link", state_dir);
    assert_int_equal(symlink(base, path), 0);
    for (size_t i = 0; i < SX_COUNT(other); i++)
        expect(ARG("delete"), other[i], 1, "Server NOT deleted.");
    assert_true(has_file("ca.key"));
    snprintf(path, sizeof(path), "%s/outside", base);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    expect(ARG("delete"), "Y\n", 0, "Deleted configuration");
    assert_int_equal(access(path, F_OK), 0); /* links are not followed */
    assert_int_equal(rmdir(config_dir), 0);  /* empty, and still there */
    assert_int_equal(rmdir(state_dir), 0);
}

/* ---- help ---- */

static void every_command_has_help(void **state)
{
    static const char *const commands[] = { "init", "start", "cert", "messages", "delete" };
    static const char *const none[] = { NULL }, *const help[] = { "-h", NULL };
    static const char *const rts[] = { "+RTS", "-N", "-RTS", "-v", "+RTS", "-x", NULL };
    static const char *const version[] = { "-v", NULL }, *const bad[] = { "--config", NULL };

    (void)state;
    expect(none, NULL, 0, "Usage: smp-server COMMAND");
    expect(help, NULL, 0, "Usage: smp-server COMMAND");
    expect(version, NULL, 0, "SMP server v");
    expect(bad, NULL, 2, "--config");
    expect(rts, NULL, 0, "SMP server v");
    expect(ARG("stat"), NULL, 2, "unknown command \"stat\"");
    expect(ARG("journal", "export"), NULL, 2, "run it with its program");
    for (size_t i = 0; i < SX_COUNT(commands); i++) {
        char text[64];
        snprintf(text, sizeof(text), "Usage: smp-server %s", commands[i]);
        expect(ARG(commands[i], "--help"), NULL, 0, text);
        expect(ARG(commands[i], "--wrong"), NULL, 2, "--wrong");
    }
}

static int make_dirs(void **state)
{
    (void)state;
    strcpy(base, "/tmp/simplex-cli-XXXXXX");
    if (mkdtemp(base) == NULL)
        return -1;
    snprintf(config_dir, sizeof(config_dir), "%s/config", base);
    snprintf(state_dir, sizeof(state_dir), "%s/state", base);
    return sx_crypto_init();
}

static int remove_dirs(void **state)
{
    char cmd[96];

    (void)state;
    vec_free_all();
    snprintf(cmd, sizeof(cmd), "rm -r %s", base);
    return system(cmd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dirs, remove_dirs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(init_makes_a_server_that_starts),
        TEST(start_says_what_it_serves),
        TEST(the_proxy_can_be_switched_off),
        TEST(init_is_refused_where_a_server_is),
        TEST(init_asks_what_options_do_not_say),
        TEST(enter_takes_the_defaults),
        TEST(init_takes_the_options_of_the_reference),
        TEST(init_works_in_an_image_for_the_reference),
        TEST(start_names_the_line_of_a_wrong_value),
        TEST(start_takes_its_directories_from_the_environment),
        TEST(start_refuses_another_identity),
        TEST(a_hang_up_reads_the_configuration_again),
        TEST(cert_keeps_the_identity),
        TEST(cert_needs_a_server),
        TEST(messages_go_to_the_file_of_the_reference_and_back),
        TEST(root_works_as_the_owner_of_the_state),
        TEST(delete_wants_the_answer_y),
        TEST(every_command_has_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
