/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an idle agent costs: resident memory of its process, heap for each connection, time to
 * open; and the size of the shared library. (The server's figures are in bench_server.)
 *
 * Each row is a process of its own. Connections are rows written straight into the database, with
 * queues that exist on a server in another process, so that the agent subscribes as it always
 * does; without the server it waits for it.
 *
 * bench_memory [libsimplex.so]
 */
#include <elf.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "bench/usage.h"
#include "simplex/server.h"
#include "support/blocking_client.h"

#define QUEUES_PER_BLOCK 50
#define SETTLE_MS 500
#define UP_MS 120000

static const uint8_t db_key[32] = { 1, 2, 3 };

static void die(const char *what)
{
    fprintf(stderr, "bench_memory: %s failed\n", what);
    exit(1);
}

static void must(simplex_rc rc, const char *what)
{
    if (rc == SIMPLEX_OK)
        return;
    fprintf(stderr, "bench_memory: %s: %s\n", what, simplex_rc_text(rc));
    exit(1);
}

static void wait_for(pid_t pid)
{
    int status;

    if (waitpid(pid, &status, 0) != pid || status != 0)
        die("a measuring process");
}

/* ---- the server ---- */

struct served {
    pid_t pid;
    int stop; /* closing it stops the server */
    uint16_t port;
    uint8_t key_hash[32];
    char address[512];
};

static void serve(int in, int out, struct served *s)
{
    simplex_server_config cfg;
    simplex_server *server;
    size_t len = sizeof s->address;
    char c;

    simplex_server_config_init(&cfg);
    must(simplex_server_start(&cfg, &server), "start of the server");
    s->port = simplex_server_port(server);
    simplex_server_fingerprint(server, s->key_hash);
    must(simplex_server_address(server, s->address, &len), "address of the server");
    if (write(out, s, sizeof *s) != (ssize_t)sizeof *s)
        die("write");
    while (read(in, &c, 1) > 0)
        continue;
    simplex_server_stop(server);
    _exit(0);
}

static struct served start_server(void)
{
    struct served s;
    int in[2], out[2];

    memset(&s, 0, sizeof s);
    fflush(stdout);
    if (pipe(in) != 0 || pipe(out) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        close(in[1]);
        close(out[0]);
        serve(in[0], out[1], &s);
    }
    close(in[0]);
    close(out[1]);
    if (read(out[0], &s, sizeof s) != (ssize_t)sizeof s)
        die("start of the server");
    close(out[0]);
    s.pid = pid;
    s.stop = in[1];
    return s;
}

static void stop_server(const struct served *s)
{
    close(s->stop);
    waitpid(s->pid, NULL, 0);
}

/* ---- databases ---- */

struct setup {
    const struct served *server;
    char db[300];
    unsigned conns;
};

struct made { /* the same keys for all: their number is what counts */
    struct sx_keypair auth, dh, e2e;
    struct sx_server server;
    struct sx_ratchet ratchet;
};

static void make_ratchet(struct sx_ratchet *r)
{
    struct sx_x3dh_keys link, own;
    struct sx_e2e_params from_link, params;

    memset(r, 0, sizeof *r);
    memset(&own, 0, sizeof own);
    must(sx_x3dh_keys_new(false, &link), "keys");
    sx_x3dh_params(&link, (struct sx_range){ SX_E2E_MIN, SX_E2E_MAX }, &from_link);
    must(sx_ratchet_init_send(r, &from_link, SX_E2E_MAX, false, &own, &params, NULL), "ratchet");
}

static void make_keys(struct made *m, const struct served *s)
{
    simplex_bytes password;

    must(sx_keypair_new(SX_ED25519, &m->auth), "key");
    must(sx_keypair_new(SX_X25519, &m->dh), "key");
    must(sx_keypair_new(SX_X25519, &m->e2e), "key");
    must(sx_server_parse(sx_str(s->address), &m->server, &password), "address");
    make_ratchet(&m->ratchet);
}

static void add_connection(struct sx_store *s, const struct made *m, const struct sx_rsp *ids)
{
    struct sx_conn c = { .role = SX_INITIATOR,
                         .state = SX_CONN_READY,
                         .agent_version = SX_AGENT_MAX,
                         .subscribe = true,
                         .last_id = 2,
                         .last_snd_id = 1,
                         .last_rcv_ext_id = 1,
                         .has_snd_hash = true,
                         .has_rcv_hash = true };
    struct sx_rcv_queue rq = { .server = m->server,
                               .auth = m->auth,
                               .dh = m->dh,
                               .e2e = m->e2e,
                               .has_srv_secret = true,
                               .has_e2e_secret = true,
                               .mode = SX_MODE_MESSAGING,
                               .client_version = SX_CLIENT_MAX,
                               .status = SX_Q_ACTIVE,
                               .primary = true };
    struct sx_snd_queue sq = { .server = m->server,
                               .auth = m->auth,
                               .e2e_pub = m->e2e.pub,
                               .mode = SX_MODE_MESSAGING,
                               .client_version = SX_CLIENT_MAX,
                               .status = SX_Q_ACTIVE,
                               .primary = true };

    must(sx_store_conn_add(s, &c), "row");
    rq.conn_id = sq.conn_id = c.id;
    rq.rcv_id.len = rq.snd_id.len = sq.snd_id.len = 24;
    memcpy(rq.rcv_id.b, ids->ids.rcv_id.ptr, 24);
    memcpy(rq.snd_id.b, ids->ids.snd_id.ptr, 24);
    sx_random(sq.snd_id.b, 24);
    must(sx_store_rcvq_add(s, &rq), "row");
    must(sx_store_sndq_add(s, &sq), "row");
    must(sx_store_ratchet_put(s, c.id, &m->ratchet, NULL), "row");
}

static void add_block(struct sx_store *s, struct smp_peer *p, const struct made *m, unsigned n)
{
    struct sx_cmd new = { .tag = SX_NEW };
    struct smp_batch b;

    new.new_.auth = m->auth.pub;
    new.new_.dh = m->dh.pub;
    new.new_.mode = SX_MODE_MESSAGING;
    smp_batch_init(&b);
    for (unsigned i = 0; i < n; i++)
        must(smp_batch_add(&b, p, &m->auth, NULL, sx_bytes(NULL, 0), &new), "NEW");
    must(smp_batch_send(&b, p), "NEW");
    for (unsigned i = 0; i < n; i++) {
        const struct smp_item *it = smp_peer_next(p, 20000);
        if (it == NULL || it->rsp.tag != SX_R_IDS)
            die("NEW");
        add_connection(s, m, &it->rsp);
    }
    smp_peer_forget(p);
}

static void make_database(const struct setup *x)
{
    struct sx_store_cfg cfg = { .path = x->db, .key = { db_key, 32 }, .raw_key = true };
    struct smp_peer_cfg peer = { .port = x->server->port, .key_hash = x->server->key_hash };
    struct sx_store *s;
    struct smp_peer p;
    struct made m;

    must(sx_crypto_init(), "cryptography");
    make_keys(&m, x->server);
    must(sx_store_open(&cfg, &s), "database");
    must(sx_store_begin(s), "database");
    must(smp_peer_open(&p, &peer), "connect");
    for (unsigned n = 0; n < x->conns; n += QUEUES_PER_BLOCK)
        add_block(s, &p, &m, QUEUES_PER_BLOCK);
    must(sx_store_commit(s), "database");
    sx_store_close(s);
    smp_peer_close(&p);
}

/* ---- an agent ---- */

struct memory {
    double resident, own; /* KiB: of the process; that nobody shares and no file has */
    double heap;          /* bytes in use */
};

struct figures {
    struct memory before, after;
    double open_ms, up_ms;
};

static double rollup(const char *name)
{
    char line[256], key[64];
    double value, found = -1;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");

    if (f == NULL)
        die("/proc/self/smaps_rollup");
    while (found < 0 && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%63[^:]: %lf kB", key, &value) == 2 && strcmp(key, name) == 0)
            found = value;
    }
    (void)fclose(f);
    return found;
}

static struct memory memory_now(void)
{
    struct memory m = { rollup("Rss"), rollup("Anonymous"), 0 };
#if defined(__GLIBC__)
    struct mallinfo2 i = mallinfo2();
    m.heap = (double)(i.uordblks + i.hblkhd);
#endif
    return m;
}

static _Atomic unsigned subscribed;

static void on_event(void *user, const simplex_event *ev)
{
    size_t n;

    (void)user;
    if (simplex_event_kind(ev) == SIMPLEX_EV_UP) {
        (void)simplex_event_conns(ev, &n);
        subscribed += (unsigned)n;
    }
    if (simplex_event_kind(ev) == SIMPLEX_EV_ERR) {
        fprintf(stderr, "bench_memory: %s\n", simplex_event_json(ev));
        exit(1);
    }
}

static void wait_ms(int ms)
{
    (void)usleep((useconds_t)ms * 1000);
}

/* The whole life of a measuring process: --agent database address connections online */
static int measure_agent(char **argv)
{
    const char *address = argv[3];
    unsigned conns = (unsigned)atoi(argv[4]);
    bool online = argv[5][0] == '1';
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = argv[2],
                                 .db_key = sx_bytes(db_key, 32),
                                 .db_raw_key = true,
                                 .on_event = on_event,
                                 .servers = &address,
                                 .n_servers = 1 };
    struct figures f;
    simplex_agent *a;

    f.before = memory_now();
    int64_t start = sx_mono_us();
    must(simplex_agent_open(&cfg, &a), "open");
    f.open_ms = (double)(sx_mono_us() - start) / 1e3;
    while (online && subscribed < conns) {
        if (sx_mono_us() - start > UP_MS * 1000LL)
            die("subscribing");
        wait_ms(1);
    }
    f.up_ms = (double)(sx_mono_us() - start) / 1e3;
    wait_ms(SETTLE_MS);
    f.after = memory_now();
    must(simplex_agent_close(a), "close");
    return write(STDOUT_FILENO, &f, sizeof f) == (ssize_t)sizeof f ? 0 : 1;
}

/* A new program, not only a new process: one that was forked shares what it never touched. */
static struct figures measure(const struct setup *x, bool online)
{
    char conns[12];
    struct figures f;
    int fds[2];

    (void)snprintf(conns, sizeof conns, "%u", x->conns);
    fflush(stdout);
    if (pipe(fds) != 0)
        die("pipe");
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        if (dup2(fds[1], STDOUT_FILENO) < 0)
            _exit(1);
        close(fds[0]);
        close(fds[1]);
        execl("/proc/self/exe", "bench_memory", "--agent", x->db, x->server->address, conns,
              online ? "1" : "0", (char *)NULL);
        _exit(1);
    }
    close(fds[1]);
    bool got = read(fds[0], &f, sizeof f) == (ssize_t)sizeof f;
    close(fds[0]);
    wait_for(pid);
    if (!got)
        die("a measuring process");
    return f;
}

static void remove_db(const char *db)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    char path[320];

    for (size_t i = 0; i < SX_COUNT(ends); i++) {
        (void)snprintf(path, sizeof path, "%s%s", db, ends[i]);
        (void)unlink(path);
    }
}

static void print_row(const struct figures *f, const struct figures *empty, unsigned conns,
                      bool online)
{
    printf("%11u  %-7s  %8.1f  %8.1f  %8.0f  ", conns, online ? "there" : "away",
           f->after.resident / 1024, f->after.own / 1024, f->after.heap / 1024);
    if (conns > 0)
        printf("%9.0f  ", (f->after.heap - empty->after.heap) / conns);
    else
        printf("%9s  ", "-");
    printf("%8.1f  ", f->open_ms);
    if (online && conns > 0)
        printf("%8.1f\n", f->up_ms);
    else
        printf("%8s\n", "-");
    fflush(stdout);
}

static void agent_rows(const char *dir)
{
    static const unsigned sizes[] = { 0, 100, 1000, 10000 };
    struct figures f, empty = { 0 };

    printf("Idle agent (reference: 31 MiB resident; aim: 6 MiB)\n");
    printf("connections  server   resident   its own      heap   heap per   open to\n");
    printf(
        "                           MiB       MiB       KiB    conn, B   return ms  all UP ms\n");
    for (size_t i = 0; i < SX_COUNT(sizes); i++) {
        struct served s = start_server();
        struct setup setup = { .server = &s, .conns = sizes[i] };
        (void)snprintf(setup.db, sizeof setup.db, "%s/%u.db", dir, sizes[i]);
        make_database(&setup);
        f = measure(&setup, true);
        if (i == 0)
            empty = f;
        print_row(&f, &empty, sizes[i], true);
        stop_server(&s);
        if (sizes[i] == 1000) {
            f = measure(&setup, false);
            print_row(&f, &empty, sizes[i], false);
        }
        remove_db(setup.db);
    }
    printf("its own: what no file has; the rest are pages of libraries that processes share.\n"
           "A process that has loaded the libraries and done nothing: %.1f MiB, %.1f its own\n",
           empty.before.resident / 1024, empty.before.own / 1024);
}

/* ---- the library ---- */

static bool read_at(FILE *f, long at, void *to, size_t n)
{
    return fseek(f, at, SEEK_SET) == 0 && fread(to, 1, n, f) == n;
}

/* Code, constants and data: what a stripped file must hold. */
struct sizes {
    double text, constants, data, file;
};

static bool add_section(const Elf64_Shdr *h, struct sizes *s)
{
    if ((h->sh_flags & SHF_ALLOC) == 0 || h->sh_type == SHT_NOBITS)
        return false;
    s->file += (double)h->sh_size;
    if ((h->sh_flags & SHF_EXECINSTR) != 0)
        s->text += (double)h->sh_size;
    else if ((h->sh_flags & SHF_WRITE) != 0)
        s->data += (double)h->sh_size;
    else
        s->constants += (double)h->sh_size;
    return true;
}

static bool library_sizes(const char *path, struct sizes *s)
{
    Elf64_Ehdr e;
    Elf64_Shdr h;
    FILE *f = fopen(path, "rb");
    bool ok = f != NULL && read_at(f, 0, &e, sizeof e) && memcmp(e.e_ident, ELFMAG, SELFMAG) == 0 &&
              e.e_ident[EI_CLASS] == ELFCLASS64;

    memset(s, 0, sizeof *s);
    for (unsigned i = 0; ok && i < e.e_shnum; i++) {
        ok = read_at(f, (long)(e.e_shoff + (Elf64_Off)i * e.e_shentsize), &h, sizeof h);
        if (ok)
            (void)add_section(&h, s);
    }
    if (f != NULL)
        (void)fclose(f);
    return ok;
}

/* strip's result when there is a strip; -1 otherwise */
static double stripped_size(const char *path, const char *dir)
{
    char copy[320];
    struct stat st;
    int status = -1;

    (void)snprintf(copy, sizeof copy, "%s/stripped.so", dir);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("strip", "strip", "--strip-unneeded", "-o", copy, path, (char *)NULL);
        _exit(1);
    }
    bool ok = pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 && stat(copy, &st) == 0;
    (void)unlink(copy);
    return ok ? (double)st.st_size : -1;
}

static void library_row(const char *path, const char *dir)
{
    char own[1024], beside[1100];
    struct sizes s;

    if (path == NULL) { /* where the build puts it */
        ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
        if (n < 0)
            return;
        own[n] = 0;
        *strrchr(own, '/') = 0;
        (void)snprintf(beside, sizeof beside, "%s/../lib/libsimplex.so", own);
        path = beside;
    }
    if (!library_sizes(path, &s)) {
        printf("\nno shared library at %s\n", path);
        return;
    }
    double stripped = stripped_size(path, dir);
    printf("\nShared library of all layers (aim: 500 KiB of own code)\n");
    printf("stripped %.0f KiB: code %.0f, constants %.0f, data %.0f KiB\n",
           (stripped < 0 ? s.file : stripped) / 1024, s.text / 1024, s.constants / 1024,
           s.data / 1024);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/simplex-bench-XXXXXX";

    if (argc == 6 && strcmp(argv[1], "--agent") == 0)
        return measure_agent(argv);
    bench_no_options(argc, argv, "bench_memory [shared library]");
    if (mkdtemp(dir) == NULL)
        die("temporary folder");
    agent_rows(dir);
    library_row(argc > 1 ? argv[1] : NULL, dir);
    printf("\nThe server's memory: bench_server (reference: 187 KiB for an idle connection; aim: "
           "25)\n");
    (void)rmdir(dir);
    return 0;
}
