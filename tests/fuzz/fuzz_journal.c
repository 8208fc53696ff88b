/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of the journal, with files that anything may have happened to. The first byte chooses:
 * changed bytes or another length of good files, which must be refused or lose no more than what
 * was changed; or files made of records with any fields and good checksums.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"
#include "journal.h"
#include "journal_internal.h"

enum { GOOD = 6, FILE_MAX = 4 * SX_RECORD_MAX };

static char dir[64];
static int dir_fd;
static pthread_mutex_t stripes[SX_STORE_SHARDS];
static struct sx_msg *loaded[4096];
static size_t count;
static uint8_t good[2][FILE_MAX];
static size_t good_len[2];
static uint8_t good_ids[GOOD][SX_ID_LEN];

static bool load(void *user, const uint8_t *rid, struct sx_msg *m)
{
    static volatile uint8_t sum;

    (void)user;
    CHECK(count < SX_COUNT(loaded));
    CHECK(count == 0 || loaded[count - 1]->journal.seq <= m->journal.seq);
    for (size_t i = 0; i < m->len; i++)
        sum = (uint8_t)(sum + m->body[i]);
    for (size_t i = 0; i < SX_ID_LEN; i++)
        sum = (uint8_t)(sum + rid[i]);
    if (m->len == 13) /* no such queue */
        return false;
    loaded[count++] = m;
    return true;
}

static void warn(void *user, const char *text)
{
    (void)user;
    CHECK(strstr(text, dir) != NULL);
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static struct sx_journal *open_journal(bool skip, simplex_rc *rc)
{
    struct sx_journal_cfg cfg = { .dir = dir,
                                  .segment_size = SX_SEGMENT_MIN,
                                  .skip_damage = skip,
                                  .stripes = stripes,
                                  .load = load,
                                  .warn = warn,
                                  .sync_fd = no_sync };
    char text[600] = "";
    struct sx_errtext err = { text, sizeof text };
    struct sx_journal *j;

    *rc = sx_journal_open(&cfg, &err, &j);
    CHECK((j != NULL) == (*rc == SIMPLEX_OK));
    CHECK(*rc == SIMPLEX_OK || (strstr(text, dir) != NULL && count == 0));
    return j;
}

static void close_journal(struct sx_journal *j)
{
    sx_journal_close(j);
    while (count > 0)
        sx_msg_unref(loaded[--count]);
}

static void put_file(uint32_t number, const uint8_t *p, size_t len)
{
    char name[SX_SEGMENT_NAME];

    sx_segment_name(number, name);
    int fd = openat(dir_fd, name, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, p, len) == (ssize_t)len && close(fd) == 0);
}

static void remove_files(void)
{
    char name[SX_SEGMENT_NAME];

    for (uint32_t n = 1; n < 8; n++) {
        sx_segment_name(n, name);
        (void)unlinkat(dir_fd, name, 0);
    }
}

static void tidy_up(void)
{
    remove_files();
    (void)unlinkat(dir_fd, "lock", 0);
    (void)close(dir_fd);
    (void)rmdir(dir);
}

static size_t put_record(uint8_t *file, size_t at, const uint8_t *salt, struct sx_record *r,
                         uint8_t fill)
{
    memset(file + at + SX_RECORD_HEADER, fill, r->len);
    r->hash = sx_record_hash(r->id, sx_bytes(file + at + SX_RECORD_HEADER, r->len));
    sx_record_encode(r, salt, (uint32_t)at, file + at);
    return sx_record_size(r->len);
}

/* Two files of three messages each; all of the first, and two of the second, durable. */
static void make_good(void)
{
    for (uint32_t f = 0; f < 2; f++) {
        struct sx_segment_header h = { .number = f + 1, .prev = f, .synced = SX_SEGMENT_HEADER };
        size_t at = SX_SEGMENT_HEADER;
        if (f == 1)
            h.prev_end = (uint32_t)good_len[0];
        h.salt[0] = (uint8_t)(f + 1);
        sx_segment_encode(&h, good[f]);
        for (uint32_t i = 0; i < GOOD / 2; i++) {
            struct sx_record r = { .type = SX_RECORD_ADD,
                                   .len = (uint16_t)(40 + 9 * i),
                                   .synced = (uint32_t)at,
                                   .seq = 3 * f + i + 1 };
            memset(r.id, (int)(3 * f + i + 1), SX_ID_LEN);
            memcpy(good_ids[3 * f + i], r.id, SX_ID_LEN);
            at += put_record(good[f], at, h.salt, &r, 'x');
        }
        good_len[f] = at;
    }
}

static void prepare(void)
{
    CHECK(sx_crypto_init() == SIMPLEX_OK);
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/sx_fuzz_XXXXXX" : "/tmp/sx_fuzz_XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(dir_fd >= 0 && atexit(tidy_up) == 0);
    for (size_t i = 0; i < SX_STORE_SHARDS; i++)
        CHECK(pthread_mutex_init(&stripes[i], NULL) == 0);
    make_good();
}

static bool is_loaded(const uint8_t *id)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(loaded[i]->id, id, SX_ID_LEN) == 0)
            return true;
    return false;
}

/* Groups of (file and u16 position, byte to mix in); a position behind the end cuts the file. */
static void changed_files(const uint8_t *data, size_t size, bool skip)
{
    static uint8_t copy[2][FILE_MAX];
    size_t len[2] = { good_len[0], good_len[1] };
    simplex_rc rc;

    memcpy(copy, good, sizeof copy);
    for (; size >= 3; data += 3, size -= 3) {
        size_t f = data[0] >> 7, at = (size_t)(data[0] & 0x7f) << 8 | data[1];
        if (at < len[f])
            copy[f][at] ^= data[2];
        else
            len[f] = at % (good_len[f] + 1);
    }
    put_file(1, copy[0], len[0]);
    put_file(2, copy[1], len[1]);
    struct sx_journal *j = open_journal(skip, &rc);
    CHECK(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_DAMAGED || rc == SIMPLEX_E_DB_SCHEMA);
    CHECK(!skip || rc != SIMPLEX_E_DB_DAMAGED);
    if (rc == SIMPLEX_OK) {
        /* Nothing comes from nowhere; what was durable is there unless damage was skipped. */
        for (size_t i = 0; i < count; i++)
            CHECK(loaded[i]->id[0] >= 1 && loaded[i]->id[0] <= GOOD);
        bool first_whole = len[0] == good_len[0] && memcmp(copy[0], good[0], len[0]) == 0;
        for (size_t i = 0; i < GOOD / 2 && (!skip || first_whole); i++)
            CHECK(is_loaded(good_ids[i]));
        (void)sx_journal_tidy(j);
    }
    close_journal(j);
}

static uint32_t take(const uint8_t **p, size_t *left, size_t n)
{
    uint32_t v = 0;

    for (; n > 0 && *left > 0; n--, (*left)--)
        v = v << 8 | *(*p)++;
    return v;
}

/* Records of 8 bytes of input each: type, flags, length, synced, seq, id. */
static void made_file(const uint8_t *data, size_t size, bool skip)
{
    static uint8_t file[FILE_MAX + SX_RECORD_MAX + 65536];
    struct sx_segment_header h = { .number = 1 };
    size_t at = SX_SEGMENT_HEADER, records = 0;
    simplex_rc rc;

    h.prev = take(&data, &size, 1);
    h.prev_end = take(&data, &size, 2);
    h.synced = take(&data, &size, 2);
    sx_segment_encode(&h, file);
    while (size > 0 && at < FILE_MAX) {
        struct sx_record r = { .type = (uint8_t)take(&data, &size, 1) };
        uint32_t flags = take(&data, &size, 1);
        r.notify = (flags & 1) != 0;
        r.quota = (flags & 2) != 0;
        r.len = (uint16_t)take(&data, &size, 2);
        r.synced = (flags & 4) != 0 ? (uint32_t)at : take(&data, &size, 2);
        r.seq = take(&data, &size, 1) << (flags >> 3);
        r.id[0] = (uint8_t)take(&data, &size, 1);
        if (r.type != SX_RECORD_ADD)
            r.len &= 63;
        at += put_record(file, at, h.salt, &r, (uint8_t)flags);
        records++;
    }
    put_file(1, file, at);
    struct sx_journal *j = open_journal(skip, &rc);
    CHECK(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_DAMAGED);
    CHECK(count <= records);
    close_journal(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (dir[0] == '\0')
        prepare();
    if (size < 2)
        return 0;
    if ((data[0] & 1) == 0)
        changed_files(data + 1, size - 1, (data[0] & 2) != 0);
    else
        made_file(data + 1, size - 1, (data[0] & 2) != 0);
    remove_files();
    return 0;
}
