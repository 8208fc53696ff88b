/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics by days, weeks and months, the daily line, and the file over a restart (section 10).
 */
#include "stats_util.h"

#include <stdlib.h>
#include <unistd.h>

#define DAY_MS INT64_C(86400000)

/* ---- days, weeks, months ---- */

static void knows_the_calendar(void **state)
{
    (void)state;
    uint32_t thursday = sx_day_of(INT64_C(1735776000000)); /* 2025-01-02 */
    assert_int_equal(sx_week_begin(thursday), thursday - 3);
    assert_int_equal(sx_month_begin(thursday), thursday - 1);
    assert_int_equal(sx_week_begin(thursday - 3), thursday - 3); /* Monday, 2024-12-30 */
    assert_int_equal(sx_week_begin(thursday - 4), thursday - 10);
    assert_int_equal(sx_month_begin(thursday - 2), thursday - 2 - 30);
    uint32_t leap = sx_day_of(INT64_C(1709164800000)); /* 2024-02-29 */
    assert_int_equal(sx_month_begin(leap), leap - 28);
    assert_int_equal(sx_month_begin(leap + 1), leap + 1);
}

static void begin_day(struct mem_server *m, int64_t now)
{
    m->now = now;
    struct sx_snapshot s = read_now(m);
    sx_stats_begin_day(m->srv->stats, &s);
}

static void counts_queues_once_a_day_a_week_and_a_month(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } }, r = { .rcv_id = { 0 } };
    const int64_t monday = INT64_C(1735516800000); /* 2024-12-30 */

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    mem_new(&t.a, &r, SX_MODE_MESSAGING, false);
    begin_day(&t.m, monday + 100);
    struct sx_snapshot s = read_now(&t.m);
    mem_assert_tag(mem_send(&t.b, &q, false, "one"), SX_R_OK);
    assert_change(&t.m, &s, "MSG_SENT 1, DAY_QUEUES 1, WEEK_QUEUES 1, MONTH_QUEUES 1");
    begin_day(&t.m, monday + DAY_MS); /* Tuesday, December 31 */
    assert_change(&t.m, &s, "DAY_QUEUES -1");
    mem_assert_tag(mem_send(&t.b, &q, false, "two"), SX_R_OK);
    mem_assert_tag(mem_send(&t.b, &r, false, "two"), SX_R_OK);
    assert_change(&t.m, &s, "MSG_SENT 2, DAY_QUEUES 2, WEEK_QUEUES 1, MONTH_QUEUES 1");
    begin_day(&t.m, monday + 2 * DAY_MS + 5); /* Wednesday, January 1 */
    assert_change(&t.m, &s, "DAY_QUEUES -2, MONTH_QUEUES -2");
    mem_assert_tag(mem_send(&t.b, &q, false, "three"), SX_R_OK);
    mem_assert_tag(mem_send(&t.b, &q, false, "four"), SX_R_OK);
    assert_change(&t.m, &s, "MSG_SENT 2, DAY_QUEUES 1, MONTH_QUEUES 1");
    begin_day(&t.m, monday + 7 * DAY_MS); /* Monday */
    assert_change(&t.m, &s, "DAY_QUEUES -1, WEEK_QUEUES -2");
    mem_assert_tag(mem_send(&t.b, &q, false, "five"), SX_R_OK);
    assert_change(&t.m, &s, "MSG_SENT 1, DAY_QUEUES 1, WEEK_QUEUES 1");
    begin_day(&t.m, monday + 6 * DAY_MS); /* the clock is set back a little: nothing begins */
    assert_change(&t.m, &s, "");
    begin_day(&t.m, monday + 4000 * DAY_MS); /* it is far ahead, */
    assert_change(&t.m, &s, "DAY_QUEUES -1, WEEK_QUEUES -1, MONTH_QUEUES -1");
    mem_assert_tag(mem_send(&t.b, &q, false, "six"), SX_R_OK);
    assert_change(&t.m, &s,
                  "MSG_SENT 1, MSG_EXPIRED 5, DAY_QUEUES 1, WEEK_QUEUES 1, MONTH_QUEUES 1");
    begin_day(&t.m, monday + 8 * DAY_MS); /* and right again */
    assert_change(&t.m, &s, "DAY_QUEUES -1, WEEK_QUEUES -1, MONTH_QUEUES -1");
    mem_assert_tag(mem_send(&t.b, &q, false, "seven"), SX_R_OK);
    assert_change(&t.m, &s, "MSG_SENT 1, DAY_QUEUES 1, WEEK_QUEUES 1, MONTH_QUEUES 1");
    begin_day(&t.m, monday + 9 * DAY_MS); /* days go on */
    assert_change(&t.m, &s, "DAY_QUEUES -1");
    mem_close_two(&t);
}

/* ---- the daily line ---- */

static char *read_file(const char *dir, const char *name)
{
    struct sx_errtext none = { NULL, 0 };
    struct sx_wr w;

    sx_wr_init(&w, 1 << 20);
    assert_int_equal(sx_file_read(dir, name, &w, &none), SIMPLEX_OK);
    sx_wr_u8(&w, 0);
    char *text = strdup((const char *)w.p);
    sx_wr_free(&w);
    assert_non_null(text);
    return text;
}

static const char *column(const char *line, unsigned n, char to[32])
{
    for (unsigned i = 1; i < n; i++)
        line = strchr(line, ',') + 1;
    size_t len = strcspn(line, ",\n");
    assert_true(len < 32);
    memcpy(to, line, len);
    to[len] = 0;
    return to;
}

static unsigned count_char(const char *text, char c)
{
    unsigned n = 0;

    for (; *text != 0; text++)
        n += *text == c;
    return n;
}

/*
 * The columns after the date, as protocol/smp.md section 10 has them: counters by name, and what is
 * none in lower case. Each is made different from all others.
 */
static const char *const order[] = {
    "Q_CREATED",
    "Q_SECURED",
    "Q_DELETED",
    "MSG_SENT",
    "MSG_RECV",
    "DAY_QUEUES",
    "WEEK_QUEUES",
    "MONTH_QUEUES", /* 9, those of version 3.4 */
    "MSG_SENT_NTF",
    "MSG_RECV_NTF",
    "DAY_NTFS",
    "WEEK_NTFS",
    "MONTH_NTFS",
    "Q_COUNT",
    "messages",
    "MSG_EXPIRED",
    "Q_DELETED_NEW",
    "Q_DELETED_SECURED", /* 19 */
    "P_RELAYS_REQUESTS",
    "P_RELAYS_SUCCESSES",
    "P_RELAYS_CONNECT",
    "P_RELAYS_COMPAT",
    "P_RELAYS_OTHER", /* 24 */
    "P_RELAYS_OWN_REQUESTS",
    "P_RELAYS_OWN_SUCCESSES",
    "P_RELAYS_OWN_CONNECT",
    "P_RELAYS_OWN_COMPAT",
    "P_RELAYS_OWN_OTHER", /* 29 */
    "P_FWDS_REQUESTS",
    "P_FWDS_SUCCESSES",
    "P_FWDS_CONNECT",
    "P_FWDS_COMPAT",
    "P_FWDS_OTHER", /* 34 */
    "P_FWDS_OWN_REQUESTS",
    "P_FWDS_OWN_SUCCESSES",
    "P_FWDS_OWN_CONNECT",
    "P_FWDS_OWN_COMPAT",
    "P_FWDS_OWN_OTHER", /* 39 */
    "P_FWDS_RECV",
    "Q_SUB",
    "Q_SUB_AUTH",
    "Q_SUB_DUPLICATE",
    "Q_SUB_PROHIBITED",
    "MSG_SENT_AUTH",
    "MSG_SENT_QUOTA",
    "MSG_SENT_LARGE",
    "MSG_NTFS",
    "MSG_NTF_NO_SUB",
    "MSG_NTF_LOST", /* 50 */
    "zero",
    "MSG_RECV_GET",
    "MSG_GET",
    "MSG_GET_NO_MSG",
    "MSG_GET_AUTH",
    "MSG_GET_DUPLICATE",
    "MSG_GET_PROHIBITED",
    "zero",
    "zero",
    "zero", /* 60 */
    "Q_COUNT",
    "NTF_CREATED",
    "NTF_DELETED",
    "NTF_SUB",
    "NTF_SUB_AUTH",
    "NTF_SUB_DUPLICATE",
    "notifiers",
    "Q_DELETED_B",
    "Q_SUB_B",
    "Q_SUB_END",
    "Q_SUB_END_B", /* 71 */
    "NTF_DELETED_B",
    "NTF_SUB_B",
    "MSG_NTFS_B",
    "MSG_NTF_EXPIRED",
    "NTF_COUNT",
    "rcv services",
    "ntf services",
    "queues of rcv services",
    "queues of ntf services", /* 80 */
    "RCV_ASSOC_NEW",
    "RCV_ASSOC_DUPLICATE",
    "RCV_ASSOC_UPDATED",
    "RCV_ASSOC_REMOVED",
    "RCV_SUB_COUNT",
    "RCV_SUB_DUPLICATE",
    "RCV_SUB_QUEUES",
    "RCV_SUB_END", /* 88 */
    "NTF_ASSOC_NEW",
    "NTF_ASSOC_DUPLICATE",
    "NTF_ASSOC_UPDATED",
    "NTF_ASSOC_REMOVED",
    "NTF_SRV_SUB_COUNT",
    "NTF_SRV_SUB_DUPLICATE",
    "NTF_SRV_SUB_QUEUES",
    "NTF_SRV_SUB_END", /* 96 */
    "RSLV_REQS",
    "RSLV_SUCC",
    "RSLV_NOT_FOUND",
    "RSLV_ERRS",
    "RSLV_DISABLED", /* 101 */
};

static unsigned value_of(const char *name)
{
    static const struct {
        const char *name;
        unsigned value;
    } others[] = {
        { "zero", 0 },
        { "messages", 77 },
        { "notifiers", 78 },
        { "rcv services", 501 },
        { "ntf services", 502 },
        { "queues of rcv services", 503 },
        { "queues of ntf services", 504 },
    };

    for (unsigned i = 0; i < SX_COUNT(others); i++)
        if (strcmp(others[i].name, name) == 0)
            return others[i].value;
    for (unsigned i = 0; i < SX_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return 1000 + i;
    fail_msg("no counter %s", name);
    return 0;
}

static void puts_every_counter_into_its_column(void **state)
{
    struct sx_snapshot s = { .from_ms = INT64_C(1735776000000), .messages = 77, .notifiers = 78 };
    struct sx_wr w;
    char field[32], wanted[32];

    (void)state;
    s.services.services[0] = 501;
    s.services.services[1] = 502;
    s.services.queues[0] = 503;
    s.services.queues[1] = 504;
    for (unsigned i = 0; i < SX_STAT_COUNT; i++)
        s.v[i] = 1000 + i;
    sx_wr_init(&w, 10000);
    sx_stats_csv(&w, &s, (struct sx_new_periods){ true, true, true });
    sx_wr_u8(&w, 0);
    const char *line = (const char *)w.p;
    assert_int_equal(count_char(line, ',') + 1, 101);
    assert_int_equal(count_char(line, '\n'), 1);
    assert_string_equal(column(line, 1, field), "2025-01-02");
    assert_int_equal(SX_COUNT(order), 100);
    for (unsigned i = 0; i < SX_COUNT(order); i++) {
        snprintf(wanted, sizeof(wanted), "%u", value_of(order[i]));
        if (strcmp(column(line, i + 2, field), wanted) != 0)
            fail_msg("column %u, %s: %s", i + 2, order[i], field);
    }
    sx_wr_free(&w);
}

struct dir {
    char path[64];
};

static void dir_make(struct dir *d)
{
    snprintf(d->path, sizeof(d->path), "/tmp/sx-stats-XXXXXX");
    assert_non_null(mkdtemp(d->path));
}

static void dir_remove(struct dir *d)
{
    static const char *const files[] = { SX_STATS_FILE, SX_STATS_FILE_OLD, SX_STATS_DAILY_FILE };
    char path[SX_PATH_MAX];

    for (size_t i = 0; i < SX_COUNT(files); i++) {
        assert_true(sx_path_join(path, d->path, files[i]));
        unlink(path);
    }
    assert_int_equal(rmdir(d->path), 0);
}

static void write_day(struct mem_server *m, const struct dir *d, int64_t now)
{
    struct sx_errtext none = { NULL, 0 };

    m->now = now;
    assert_int_equal(sx_stats_write_day(m->srv->stats, m->srv->store, d->path, now, &none),
                     SIMPLEX_OK);
}

static void writes_a_line_a_day_and_begins_anew(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct dir d;
    const int64_t tuesday = INT64_C(1700006400000); /* 2023-11-15 00:00, the day after the start */
    char field[32];

    (void)state;
    dir_make(&d);
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_send(&t.b, &q, false, "one"), SX_R_OK);
    write_day(&t.m, &d, tuesday);
    write_day(&t.m, &d, tuesday + 5 * DAY_MS);      /* Monday: the week is over */
    write_day(&t.m, &d, tuesday + 16 * DAY_MS + 3); /* December 1 */
    char *text = read_file(d.path, SX_STATS_DAILY_FILE), *line = text;
    assert_int_equal(count_char(text, '\n'), 3);
    assert_int_equal(count_char(text, ','), 3 * (SX_STATS_COLUMNS - 1));
    static const char *const wanted[3][6] = {
        { "2023-11-14", "1", "1", "1", "", "" }, /* date, created, sent, day, week, month */
        { "2023-11-15", "0", "0", "0", "1", "" },
        { "2023-11-20", "0", "0", "0", "0", "1" },
    };
    static const unsigned columns[6] = { 1, 2, 5, 7, 8, 9 };
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 6; k++)
            assert_string_equal(column(line, columns[k], field), wanted[i][k]);
        assert_string_equal(column(line, 15, field), "1"); /* queues are not events */
        assert_string_equal(column(line, 16, field), "1"); /* nor are messages */
        line = strchr(line, '\n') + 1;
    }
    free(text);
    mem_close_two(&t);
    dir_remove(&d);
}

static void keep_line(void *user, enum sx_log_level level, const char *text)
{
    snprintf(user, 256, "%d %s", (int)level, text);
}

static void ends_a_torn_line_of_the_daily_file(void **state)
{
    struct mem_server m;
    struct dir d;
    struct sx_errtext none = { NULL, 0 };
    char said[256] = "", wanted[256];

    (void)state;
    dir_make(&d);
    mem_open(&m, NULL);
    assert_int_equal(sx_file_write(d.path, SX_STATS_DAILY_FILE, sx_str("2023-11-1"), 0600, &none),
                     SIMPLEX_OK);
    sx_log_set(keep_line, said, SX_LOG_WARN);
    write_day(&m, &d, m.now + DAY_MS);
    snprintf(wanted, sizeof(wanted), "%d %s/" SX_STATS_DAILY_FILE ": the last line was torn",
             (int)SX_LOG_WARN, d.path);
    assert_memory_equal(said, wanted, strlen(wanted));
    said[0] = 0;
    write_day(&m, &d, m.now + 2 * DAY_MS);
    assert_string_equal(said, ""); /* a whole line */
    sx_log_set(NULL, NULL, SX_LOG_ERROR);
    char *text = read_file(d.path, SX_STATS_DAILY_FILE);
    assert_int_equal(count_char(text, '\n'), 3);
    assert_memory_equal(text, "2023-11-1\n2023-11-14,0,", 23);
    free(text);
    mem_close(&m);
    dir_remove(&d);
}

static void keeps_counting_when_the_line_cannot_be_written(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    char text[256];
    struct sx_errtext err = { text, sizeof(text) };

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    struct sx_snapshot s = read_now(&t.m);
    assert_int_equal(
        sx_stats_write_day(t.m.srv->stats, t.m.srv->store, "/nonexistent", t.m.now + DAY_MS, &err),
        SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(text, "/nonexistent/" SX_STATS_DAILY_FILE));
    assert_change(&t.m, &s, "");
    mem_close_two(&t);
}

/* ---- the file over a restart ---- */

static unsigned parse(struct mem_server *m, const char *text)
{
    return sx_stats_parse(m->srv->stats, m->srv->store, sx_str(text), m->now);
}

static void goes_on_counting_after_a_restart(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } }, gone = { .rcv_id = { 0 } };
    struct dir d;
    struct sx_errtext none = { NULL, 0 };

    (void)state;
    dir_make(&d);
    mem_open_two(&t, NULL);
    t.m.now = sx_now_ms(); /* the file has its time */
    begin_day(&t.m, t.m.now);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    mem_new(&t.a, &gone, SX_MODE_MESSAGING, false);
    send_notifying(&t, &q);
    mem_assert_tag(mem_send(&t.b, &gone, false, "x"), SX_R_OK);
    mem_assert_tag(mem_rcv(&t.a, &gone, SX_DEL), SX_R_OK);
    for (unsigned i = 0; i < SX_STAT_SAVED; i++)
        if (i < SX_STAT_DAY_QUEUES || i > SX_STAT_MONTH_NTFS)
            sx_stats_add(t.m.srv->stats, (enum sx_stat)i, 1000 + i);
    struct sx_snapshot was = read_now(&t.m), is;
    assert_int_equal(was.v[SX_STAT_DAY_QUEUES], 2);
    assert_int_equal(sx_stats_save(t.m.srv->stats, t.m.srv->store, d.path, t.m.now, &none),
                     SIMPLEX_OK);
    char *text = read_file(d.path, SX_STATS_FILE);
    assert_int_equal(count_char(text, '\n'), 101); /* as the reference has today */
    free(text);

    struct sx_stats *old = t.m.srv->stats, *made; /* the store stays, its stamps are lost */
    struct sx_queue *found = sx_qstore_find(t.m.srv->store, SX_BY_RCV, mem_rcv_id(&q));
    found->active_day = found->ntf_day = 0;
    sx_queue_unref(found);
    assert_int_equal(sx_stats_open(t.m.now, &made), SIMPLEX_OK);
    t.m.srv->stats = made;
    sx_stats_restore(made, t.m.srv->store, d.path, t.m.now + 5000);
    is = read_now(&t.m);
    for (unsigned i = 0; i < SX_STAT_SAVED; i++)
        assert_int_equal(is.v[i], was.v[i]);
    assert_int_equal(is.from_ms / 1000, was.from_ms / 1000);
    assert_false(sx_file_exists(d.path, SX_STATS_FILE));
    assert_true(sx_file_exists(d.path, SX_STATS_FILE_OLD));

    mem_assert_tag(mem_send(&t.b, &q, false, "again"), SX_R_OK); /* counted by the old hubs */
    t.m.srv->stats = old;
    is = read_now(&t.m);
    assert_int_equal(is.v[SX_STAT_DAY_QUEUES], 2); /* it was active in this period already */
    sx_stats_close(made);
    mem_close_two(&t);
    dir_remove(&d);
}

/* Stopped, and stopped again after maintenance, before the line of the day could be written. */
static void keeps_the_day_of_what_was_counted(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct dir d;
    struct sx_errtext none = { NULL, 0 };

    (void)state;
    dir_make(&d);
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_send(&t.b, &q, false, "x"), SX_R_OK);
    for (int64_t days = 1; days < 3; days++) {
        struct sx_stats *st;
        int64_t now = t.m.now + days * DAY_MS;
        assert_int_equal(sx_stats_save(t.m.srv->stats, t.m.srv->store, d.path, now, &none),
                         SIMPLEX_OK);
        assert_int_equal(sx_stats_open(now, &st), SIMPLEX_OK);
        sx_stats_restore(st, t.m.srv->store, d.path, now);
        assert_true(sx_stats_new_periods(st, now).day);
        assert_false(sx_stats_new_periods(st, t.m.now).day);
        struct sx_snapshot s;
        sx_stats_read(st, t.m.srv->store, now, &s);
        assert_int_equal(s.v[SX_STAT_DAY_QUEUES], 1);
        assert_int_equal(s.from_ms / 1000, t.m.now / 1000);
        sx_stats_close(st);
    }
    mem_close_two(&t);
    dir_remove(&d);
}

static void keeps_weeks_and_months_over_a_restart(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct dir d;
    struct sx_errtext none = { NULL, 0 };
    const int64_t monday = INT64_C(1735516800000); /* 2024-12-30 */

    (void)state;
    dir_make(&d);
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    begin_day(&t.m, monday);
    mem_assert_tag(mem_send(&t.b, &q, false, "in December"), SX_R_OK);
    begin_day(&t.m, monday + 3 * DAY_MS); /* January 2 of the same week */
    assert_int_equal(sx_stats_save(t.m.srv->stats, t.m.srv->store, d.path, t.m.now, &none),
                     SIMPLEX_OK);
    char *text = read_file(d.path, SX_STATS_FILE);
    assert_non_null(strstr(text, "\ndayHashes=\nweekHashes="));
    assert_non_null(strstr(text, "\nmonthHashes=\n"));
    struct sx_queue *found = sx_qstore_find(t.m.srv->store, SX_BY_RCV, mem_rcv_id(&q));
    found->active_day = 0;
    assert_int_equal(parse(&t.m, text), 0);
    assert_int_equal(found->active_day, sx_day_of(monday)); /* this week, but not this month */
    sx_queue_unref(found);
    free(text);
    mem_close_two(&t);
    dir_remove(&d);
}

static void reads_the_file_of_the_reference(void **state)
{
    static const char text[] =
        "fromTime=2023-11-14T00:00:00.123456789Z\nqCreated=7\nqSecured=6\nqDeletedAll=5\n"
        "qDeletedNew=2\nqDeletedSecured=3\nqDeletedAllB=1\nqCount=900\nqSub=11\nqSubAllB=12\n"
        "qSubAuth=13\nmsgSent=21\nmsgRecv=20\nmsgNtfExpired=4\n"
        "activeQueues:\ndayHashes=-5,3,4611686018427387904\nweekHashes=-5,3,7,8\nmonthHashes=1\n"
        "activeQueuesNtf:\ndayHashes=\nweekHashes=9\nmonthHashes=-9223372036854775808\n"
        "pRelays:\nrequests=1\nsuccesses=2\nerrorsConnect=3\nerrorsCompat=4\nerrorsOther=5\n"
        "pMsgFwdsOwn:\nrequests=6\nsuccesses=7\nerrorsConnect=8\nerrorsCompat=9\nerrorsOther=10\n"
        "pMsgFwdsRecv=31\nrcvServices:\nassocNew=41\nassocDuplicate=42\nassocUpdatedt=43\n"
        "assocRemoved=44\nsubCount=45\nsubDuplicate=46\nsubQueues=47\nsubEnd=48\n";
    struct mem_server m;

    (void)state;
    mem_open(&m, NULL);
    struct sx_snapshot s = read_now(&m);
    assert_int_equal(parse(&m, text), 0);
    assert_change(&m, &s,
                  "Q_CREATED 7, Q_SECURED 6, Q_DELETED 5, Q_DELETED_NEW 2, Q_DELETED_SECURED 3, "
                  "Q_DELETED_B 1, Q_SUB 11, Q_SUB_B 12, Q_SUB_AUTH 13, MSG_SENT 21, MSG_RECV 20, "
                  "MSG_NTF_EXPIRED 4, DAY_QUEUES 3, WEEK_QUEUES 4, MONTH_QUEUES 1, WEEK_NTFS 1, "
                  "MONTH_NTFS 1, P_RELAYS_REQUESTS 1, P_RELAYS_SUCCESSES 2, P_RELAYS_CONNECT 3, "
                  "P_RELAYS_COMPAT 4, P_RELAYS_OTHER 5, P_FWDS_OWN_REQUESTS 6, "
                  "P_FWDS_OWN_SUCCESSES 7, P_FWDS_OWN_CONNECT 8, P_FWDS_OWN_COMPAT 9, "
                  "P_FWDS_OWN_OTHER 10, P_FWDS_RECV 31, RCV_ASSOC_NEW 41, RCV_ASSOC_DUPLICATE 42, "
                  "RCV_ASSOC_UPDATED 43, RCV_ASSOC_REMOVED 44, RCV_SUB_COUNT 45, "
                  "RCV_SUB_DUPLICATE 46, RCV_SUB_QUEUES 47, RCV_SUB_END 48");
    assert_int_equal(s.from_ms, INT64_C(1699920000000));
    mem_close(&m);
}

/* Lines that belong to no section, and whole sections with their lines. */
#define ORDER_MAX 128

static unsigned into_parts(char *text, char *part[ORDER_MAX])
{
    bool in_section = false;
    unsigned n = 0;

    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        bool begins = line[strlen(line) - 1] == ':';
        if (in_section && (begins || strncmp(line, "pMsgFwdsRecv", 12) == 0 ||
                           strncmp(line, "rcvServicesSub", 14) == 0))
            in_section = false;
        if (in_section) {
            line[-1] = '\n'; /* goes on */
            continue;
        }
        assert_true(n < ORDER_MAX);
        part[n++] = line;
        in_section = begins;
    }
    return n;
}

/* Every counter has another value: a line that went astray would show. */
static char *numbered_file(void)
{
    static const char *const name[] = {
#define X(id, key) key,
#define SECTION(name) name ":",
#include "stats_list.h"
#undef X
#undef SECTION
    };
    char *text = vec_keep(8192);
    int n = snprintf(text, 8192, "fromTime=2023-11-14T00:00:00Z\n");

    for (unsigned i = 0; i < SX_COUNT(name); i++) {
        if (strstr(name[i], "Hashes") != NULL)
            n += snprintf(text + n, (size_t)(8192 - n), "%s=%u,5,6\n", name[i], i + 100);
        else if (name[i][strlen(name[i]) - 1] != ':')
            n += snprintf(text + n, (size_t)(8192 - n), "%s=%u\n", name[i], i + 100);
        else if (strlen(name[i]) > 1)
            n += snprintf(text + n, (size_t)(8192 - n), "%s\n", name[i]);
    }
    return text;
}

static void parse_into(const char *text, struct sx_snapshot *out)
{
    struct mem_server m;

    mem_open(&m, NULL);
    assert_int_equal(parse(&m, text), 0);
    *out = read_now(&m);
    mem_close(&m);
}

/* Where the reference has its last lines is not known: it does not matter. */
static void reads_lines_and_sections_in_any_order(void **state)
{
    struct sx_snapshot in_order, is;
    char *part[ORDER_MAX], *text = numbered_file(), *shuffled = vec_keep(8192);

    (void)state;
    parse_into(text, &in_order);
    assert_int_equal(in_order.v[SX_STAT_RSLV_DISABLED] - in_order.v[SX_STAT_RSLV_REQS], 4);
    unsigned n = into_parts(text, part);
    assert_true(n > 50);
    for (unsigned round = 0; round < 100; round++) {
        size_t len = 0;
        for (unsigned i = n - 1; i > 0; i--) {
            unsigned k = sx_random_below(i + 1);
            char *p = part[i];
            part[i] = part[k];
            part[k] = p;
        }
        for (unsigned i = 0; i < n; i++)
            len += (size_t)snprintf(shuffled + len, 8192 - len, "%s\n", part[i]);
        parse_into(shuffled, &is);
        assert_memory_equal(is.v, in_order.v, sizeof(is.v[0]) * SX_STAT_SAVED);
        assert_int_equal(is.from_ms, in_order.from_ms);
    }
    parse_into("pRelays:\nrequests=1\nqCreated=2\nsuccesses=3\n", &is); /* among others */
    assert_int_equal(is.v[SX_STAT_P_RELAYS_REQUESTS], 1);
    assert_int_equal(is.v[SX_STAT_Q_CREATED], 2);
    assert_int_equal(is.v[SX_STAT_P_RELAYS_SUCCESSES], 3);
    parse_into("subscribedQueues:\ndayHashes=1\nqCreated=2\nweekHashes=1,2\n", &is);
    assert_int_equal(is.v[SX_STAT_Q_CREATED], 2);
    assert_int_equal(is.v[SX_STAT_WEEK_QUEUES], 0);
    vec_free_all();
}

static void reads_files_of_old_versions(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    char text[512];
    struct sx_wr w;

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    sx_wr_init(&w, 100);
    sx_b64url_encode(&w, mem_rcv_id(&q));
    sx_wr_u8(&w, 0);
    snprintf(text, sizeof(text),
             "fromTime=2023-11-14T00:00:00Z\nqCreated=1\nqSecured=2\nqDeleted=3\nmsgSent=4\n"
             "msgRecv=5\nqSubNoMsg=6\ndayMsgQueues=%s\nweekMsgQueues=%s,QUJD\nmonthMsgQueues=%s\n"
             "subscribedQueues:\nday=QUJD\nweek=QUJD\nmonth=\n",
             (char *)w.p, (char *)w.p, (char *)w.p);
    sx_wr_free(&w);
    struct sx_snapshot s = read_now(&t.m);
    assert_int_equal(parse(&t.m, text), 0);
    assert_change(&t.m, &s,
                  "Q_CREATED 1, Q_SECURED 2, Q_DELETED 3, MSG_SENT 4, MSG_RECV 5, DAY_QUEUES 1, "
                  "WEEK_QUEUES 2, MONTH_QUEUES 1");
    mem_assert_tag(mem_send(&t.b, &q, false, "x"), SX_R_OK); /* its id was in the lists */
    assert_change(&t.m, &s, "MSG_SENT 1");
    mem_close_two(&t);
}

static void leaves_out_what_is_damaged(void **state)
{
    struct mem_server m;

    (void)state;
    mem_open(&m, NULL);
    struct sx_snapshot s = read_now(&m);
    assert_int_equal(parse(&m, ""), 0);
    assert_int_equal(parse(&m, "garbage\n=1\nqCreated=-1\nqCreated=1x\nqCreated=\nunknown=1\n"
                               "odd:\nqSecured=99999999999999999999\nfromTime=yesterday\n"),
                     9);
    assert_change(&m, &s, "");
    assert_int_equal(parse(&m, "qCreated=1\r\nactiveQueues:\ndayHashes=1,,2\nweekHashes=1,2"), 2);
    assert_change(&m, &s, "Q_CREATED 1"); /* the last line is torn */
    assert_int_equal(parse(&m, "msgSent=18446744073709551616\nmsgRecv=9223372036854775807\n"), 1);
    struct sx_snapshot t = read_now(&m);
    assert_int_equal(t.v[SX_STAT_MSG_SENT], 0);
    assert_true(t.v[SX_STAT_MSG_RECV] == INT64_MAX);
    mem_close(&m);
}

static void survives_every_mutation_of_the_file(void **state)
{
    static const char text[] = "fromTime=2023-11-14T00:00:00Z\nqCreated=7\nactiveQueues:\n"
                               "dayHashes=-5,3\nweekHashes=QUJD\npRelays:\nrequests=1\n";
    uint8_t changed[sizeof(text)];
    struct mem_server m;

    (void)state;
    mem_open(&m, NULL);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        for (unsigned k = 0; k < 256; k += 5) {
            memcpy(changed, text, sizeof(text));
            changed[i] = (uint8_t)k;
            sx_stats_parse(m.srv->stats, m.srv->store, sx_bytes(changed, sizeof(text) - 1), m.now);
        }
        sx_stats_parse(m.srv->stats, m.srv->store, sx_bytes(text, i), m.now);
    }
    mem_close(&m);
}

static void starts_without_a_file_and_with_one_that_cannot_be_read(void **state)
{
    struct mem_server m;
    struct dir d;
    char path[SX_PATH_MAX];

    (void)state;
    dir_make(&d);
    mem_open(&m, NULL);
    struct sx_snapshot s = read_now(&m);
    sx_stats_restore(m.srv->stats, m.srv->store, d.path, m.now);
    assert_true(sx_path_join(path, d.path, SX_STATS_FILE));
    assert_int_equal(symlink(d.path, path), 0); /* a directory */
    sx_stats_restore(m.srv->stats, m.srv->store, d.path, m.now);
    assert_change(&m, &s, "");
    mem_close(&m);
    dir_remove(&d);
}

static void saving_fails_cleanly_without_memory(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct dir d;
    struct sx_errtext none = { NULL, 0 };
    bool fired = true;

    (void)state;
    dir_make(&d);
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_send(&t.b, &q, false, "one"), SX_R_OK);
    for (unsigned nth = 0; fired; nth++) {
        size_t blocks = sx_fault_live_blocks();
        sx_fault_malloc(nth);
        simplex_rc rc = sx_stats_save(t.m.srv->stats, t.m.srv->store, d.path, t.m.now, &none);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        assert_int_equal(sx_fault_live_blocks(), blocks);
    }
    fired = true;
    for (unsigned nth = 0; fired; nth++) {
        size_t blocks = sx_fault_live_blocks();
        sx_fault_malloc(nth);
        sx_stats_parse(t.m.srv->stats, t.m.srv->store,
                       sx_str("activeQueues:\ndayHashes=1\nweekHashes=2\n"), t.m.now);
        fired = sx_fault_disarm();
        assert_int_equal(sx_fault_live_blocks(), blocks);
    }
    mem_close_two(&t);
    dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_calendar),
        cmocka_unit_test(counts_queues_once_a_day_a_week_and_a_month),
        cmocka_unit_test(puts_every_counter_into_its_column),
        cmocka_unit_test(writes_a_line_a_day_and_begins_anew),
        cmocka_unit_test(ends_a_torn_line_of_the_daily_file),
        cmocka_unit_test(keeps_counting_when_the_line_cannot_be_written),
        cmocka_unit_test(goes_on_counting_after_a_restart),
        cmocka_unit_test(keeps_the_day_of_what_was_counted),
        cmocka_unit_test(keeps_weeks_and_months_over_a_restart),
        cmocka_unit_test(reads_the_file_of_the_reference),
        cmocka_unit_test(reads_lines_and_sections_in_any_order),
        cmocka_unit_test(reads_files_of_old_versions),
        cmocka_unit_test(leaves_out_what_is_damaged),
        cmocka_unit_test(survives_every_mutation_of_the_file),
        cmocka_unit_test(starts_without_a_file_and_with_one_that_cannot_be_read),
        cmocka_unit_test(saving_fails_cleanly_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
