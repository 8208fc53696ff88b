/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database that somebody else touched. The first byte chooses: changed bytes or another length
 * of the encrypted file (the result is an error or the same rows), or another value in one column
 * by somebody who has the key (the result is an error or a row that can be read).
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "fuzz.h"
#include "store/store.h"

static char dir[64], file_path[80], log_path[80], row_path[80];
static struct sx_store *rows;
static uint8_t *original;
static size_t original_len;

static struct sx_store *open_store(const char *path, simplex_rc *rc)
{
    static const uint8_t key[32] = { 42 };
    struct sx_store_cfg cfg = { .path = path, .key = { key, 32 }, .raw_key = true };
    struct sx_store *s = NULL;

    *rc = sx_store_open(&cfg, &s);
    CHECK((s != NULL) == (*rc == SIMPLEX_OK));
    return s;
}

static void must(simplex_rc rc)
{
    CHECK(rc == SIMPLEX_OK);
}

static void add_queues(struct sx_store *s)
{
    static const char text[] = "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@a.org,b.onion";
    struct sx_rcv_queue rq = { .conn_id = 1, .status = SX_Q_NEW, .has_srv_secret = true };
    struct sx_snd_queue sq = { .conn_id = 1, .status = SX_Q_ACTIVE };
    simplex_bytes password;

    must(sx_server_parse(sx_str(text), &rq.server, &password));
    must(sx_keypair_new(SX_ED25519, &rq.auth));
    must(sx_keypair_new(SX_X25519, &rq.dh));
    rq.e2e = rq.dh;
    rq.sender_key = rq.auth.pub;
    rq.rcv_id.len = rq.snd_id.len = sq.snd_id.len = 24;
    sq.server = rq.server;
    sq.auth = rq.auth;
    sq.e2e_pub = rq.dh.pub;
    must(sx_store_rcvq_add(s, &rq));
    must(sx_store_sndq_add(s, &sq));
}

static void fill(struct sx_store *s)
{
    static uint8_t body[6000];
    struct sx_conn c = { .role = SX_JOINER, .state = SX_CONN_NEW, .has_snd_hash = true };
    struct sx_ratchet r = { .current = 3, .max_supported = 3, .has_snd = true, .has_rcv = true };
    struct sx_skipped k = { .n = 5 };
    struct sx_x3dh_keys x;
    struct sx_snd_msg sm = { .conn_id = 1, .id = 1, .plain = { body, sizeof body } };
    struct sx_rcv_msg_row rm = { .conn_id = 1, .id = 2, .body = { body, sizeof body } };
    struct sx_confirmation conf = { .conn_id = 1, .info = { body, 10 } };
    struct sx_command cmd = { .conn_id = 1, .data = { body, 10 } };
    struct sx_event_row e = { .conn_id = 1, .data = { body, 10 } };

    must(sx_store_conn_add(s, &c));
    add_queues(s);
    must(sx_keypair_new(SX_X448, &r.dhs));
    must(sx_ratchet_add_skipped(&r, &k));
    must(sx_store_ratchet_put(s, 1, &r, NULL));
    sx_ratchet_wipe(&r);
    must(sx_x3dh_keys_new(false, &x));
    must(sx_store_x3dh_put(s, 1, &x));
    must(sx_store_snd_msg_add(s, &sm));
    must(sx_store_delivery_add(s, 1, 1, 1));
    must(sx_store_rcv_msg_add(s, &rm));
    must(sx_store_conf_add(s, &conf));
    must(sx_store_command_add(s, &cmd));
    must(sx_store_event_add(s, &e));
}

static void touch(simplex_bytes b)
{
    static volatile uint8_t sum;

    for (size_t i = 0; i < b.len; i++)
        sum = (uint8_t)(sum + b.ptr[i]);
}

/* Reads each record once. Every result but these would be a defect. */
static bool readable(simplex_rc rc)
{
    CHECK(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_DAMAGED || rc == SIMPLEX_E_NOT_FOUND);
    return rc == SIMPLEX_OK;
}

static unsigned read_all(struct sx_store *s)
{
    static struct sx_rcv_queue rq;
    static struct sx_snd_queue sq;
    struct sx_conn c;
    struct sx_ratchet r;
    struct sx_x3dh_keys x;
    struct sx_snd_msg sm;
    struct sx_rcv_msg_row rm;
    struct sx_confirmation conf;
    struct sx_command cmd;
    struct sx_event_row e;
    unsigned good = 0;

    good += readable(sx_store_conn_get(s, 1, &c));
    good += readable(sx_store_rcvq_next(s, 0, &rq));
    good += readable(sx_store_sndq_of(s, 1, 0, &sq));
    if (readable(sx_store_ratchet_get(s, 1, &r))) {
        good++;
        sx_ratchet_wipe(&r);
    }
    good += readable(sx_store_x3dh_get(s, 1, &x));
    if (readable(sx_store_delivery_next(s, 1, 0, &sm))) {
        good++;
        touch(sm.plain);
        touch(sm.key);
        touch(sm.e2e);
    }
    if (readable(sx_store_rcv_msg_get(s, 1, 2, &rm))) {
        good++;
        touch(rm.body);
    }
    if (readable(sx_store_conf_get(s, 1, &conf))) {
        good++;
        touch(conf.info);
        touch(conf.reply_queue);
        touch(conf.own_info);
    }
    if (readable(sx_store_command_next(s, 1, 0, &cmd))) {
        good++;
        touch(cmd.data);
    }
    if (readable(sx_store_event_next(s, 0, &e)) && readable(sx_store_event_next(s, e.id, &e))) {
        good++;
        touch(e.data);
    }
    return good;
}
#define RECORDS 10

static void tidy_up(void)
{
    sx_store_close(rows);
    free(original);
    (void)unlink(log_path);
    (void)unlink(file_path);
    (void)unlink(row_path);
    (void)rmdir(dir);
}

static void prepare(void)
{
    simplex_rc rc;

    must(sx_crypto_init());
    strcpy(dir, "/tmp/sx_fuzz_store_XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    (void)snprintf(file_path, sizeof file_path, "%s/file", dir);
    (void)snprintf(log_path, sizeof log_path, "%s/file-wal", dir);
    (void)snprintf(row_path, sizeof row_path, "%s/rows", dir);
    struct sx_store *s = open_store(file_path, &rc);
    must(rc);
    fill(s);
    sx_store_close(s);
    int fd = open(file_path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && (original = malloc(1 << 20)) != NULL);
    ssize_t n = read(fd, original, 1 << 20);
    CHECK(n > 4096 && n % 4096 == 0);
    original_len = (size_t)n;
    (void)close(fd);
    rows = open_store(row_path, &rc);
    must(rc);
    fill(rows);
    CHECK(atexit(tidy_up) == 0);
}

/* Groups of (u24 position, byte to mix in); a position behind the end cuts the file there. */
static void changed_file(const uint8_t *data, size_t size)
{
    static uint8_t copy[1 << 20];
    size_t n = original_len;
    simplex_rc rc;

    memcpy(copy, original, n);
    for (; size >= 4; data += 4, size -= 4) {
        size_t at = (size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2];
        if (at < n)
            copy[at] ^= data[3];
        else
            n = at % (original_len + 1);
    }
    bool same = n == original_len && memcmp(copy, original, n) == 0;
    (void)unlink(log_path);
    int fd = open(file_path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, copy, n) == (ssize_t)n && close(fd) == 0);
    struct sx_store *s = open_store(file_path, &rc);
    CHECK(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_KEY || rc == SIMPLEX_E_DB_DAMAGED);
    unsigned good = s != NULL ? read_all(s) : 0;
    CHECK(!same || good == RECORDS);
    /* Small enough to be checked whole; SQLite takes a file of one byte for an empty one. */
    CHECK(rc != SIMPLEX_OK || n <= 1 || good == RECORDS);
    sx_store_close(s);
}

static void changed_row(uint8_t which, simplex_bytes value)
{
    static const char *const columns[][2] = {
        { "connections", "last_snd_msg_hash" },
        { "rcv_queues", "server" },
        { "rcv_queues", "rcv_id" },
        { "rcv_queues", "rcv_auth_key" },
        { "rcv_queues", "rcv_dh_secret" },
        { "rcv_queues", "sender_key" },
        { "snd_queues", "server" },
        { "snd_queues", "snd_auth_key" },
        { "snd_queues", "e2e_pub_key" },
        { "snd_queues", "e2e_dh_secret" },
        { "connections", "ratchet_state" },
        { "skipped_message_keys", "header_key" },
        { "skipped_message_keys", "msg_iv" },
        { "x3dh_keys", "keys" },
        { "snd_messages", "msg_body" },
        { "rcv_messages", "msg_hash" },
        { "rcv_messages", "broker_id" },
        { "conn_confirmations", "reply_queue" },
        { "commands", "command" },
        { "events", "event" },
    };
    static char sql[20000];
    const char *const *column = columns[which % SX_COUNT(columns)];
    int at = snprintf(sql, sizeof sql, "UPDATE %s SET %s = x'", column[0], column[1]);

    for (size_t i = 0; i < value.len && (size_t)at + 4 < sizeof sql; i++)
        at += snprintf(sql + at, sizeof sql - (size_t)at, "%02x", value.ptr[i]);
    (void)snprintf(sql + at, sizeof sql - (size_t)at, "'");
    must(sx_store_begin(rows));
    must(sx_store_exec(rows, sql));
    CHECK(read_all(rows) >= RECORDS - 1); /* the others do not suffer */
    sx_store_rollback(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (rows == NULL)
        prepare();
    if (size < 2)
        return 0;
    if (data[0] % 4 == 0)
        changed_file(data + 1, size - 1);
    else
        changed_row(data[1], sx_bytes(data + 2, size - 2));
    return 0;
}
