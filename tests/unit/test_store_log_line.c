/* SPDX-License-Identifier: Apache-2.0 */
/* Every record of the store log both ways, against lines in the reference's form. */
#include "store_log_util.h"

static struct sx_slog_scratch scratch;

static simplex_rc decode(const char *line, struct sx_slog_record *r)
{
    const char *what;
    simplex_rc rc = sx_slog_decode(sx_str(line), &scratch, r, &what);

    if (rc == SIMPLEX_OK)
        assert_null(what);
    else
        assert_non_null(what);
    return rc;
}

/* Reads the line, which must be written back as `again`. */
static struct sx_slog_record read_as(const char *line, const char *again)
{
    struct sx_slog_record r;
    struct sx_wr w;

    assert_int_equal(decode(line, &r), SIMPLEX_OK);
    sx_wr_init(&w, SX_SLOG_LINE_MAX);
    sx_slog_encode(&w, &r);
    assert_false(w.bad);
    assert_int_equal(w.len, strlen(again));
    assert_memory_equal(w.p, again, w.len);
    sx_wr_free(&w);
    return r;
}

static struct sx_slog_record read_back(const char *line)
{
    return read_as(line, line);
}

static void assert_refused(const char *line)
{
    struct sx_slog_record r;

    if (decode(line, &r) == SIMPLEX_OK)
        fail_msg("was taken: %s", line);
}

static void assert_base(const struct sx_slog_record *r)
{
    assert_int_equal(r->tag, SX_SLOG_CREATE);
    assert_true(all(r->rid, 1, 24));
    assert_int_equal(r->rk_count, 1);
    assert_true(is_key(r->rk, SX_ED25519, 0));
    assert_true(all(r->rdh, 0xaa, 32));
    assert_true(all(r->sid, 2, 24));
}

static void reads_the_queue_of_version_3_4(void **state)
{
    struct sx_slog_record r = read_back(NEW_QUEUE);

    (void)state;
    assert_base(&r);
    assert_int_equal(r.sk.alg, SX_NO_KEY);
    assert_int_equal(r.queue_mode, SX_MODE_NONE);
    assert_int_equal(r.status, SX_Q_ACTIVE);
    assert_false(r.has_link || r.has_notifier || r.has_updated_at || r.has_rsrv);

    r = read_back(NEW_QUEUE E448 " notifier=" NID " " X " " NDH);
    assert_base(&r);
    assert_true(is_key(&r.sk, SX_ED448, 0));
    assert_true(r.has_notifier);
    assert_true(all(r.ntf_id, 4, 24));
    assert_true(is_key(&r.ntf_key, SX_X25519, 64));
    assert_true(all(r.ntf_secret, 0xbb, 32));
    assert_false(r.has_nsrv);
    (void)read_as(NEW_QUEUE "\r", NEW_QUEUE);
}

static void reads_both_words_for_the_mode(void **state)
{
    (void)state;
    struct sx_slog_record r = read_back(NEW_QUEUE " queue_mode=M");
    assert_int_equal(r.queue_mode, SX_MODE_MESSAGING);
    r = read_back(NEW_QUEUE " queue_mode=C");
    assert_int_equal(r.queue_mode, SX_MODE_CONTACT);
    r = read_as(NEW_QUEUE " sndSecure=T", NEW_QUEUE " queue_mode=M");
    assert_int_equal(r.queue_mode, SX_MODE_MESSAGING);
    r = read_as(NEW_QUEUE ED2 " sndSecure=F", NEW_QUEUE ED2 " queue_mode=C");
    assert_int_equal(r.queue_mode, SX_MODE_CONTACT);
    assert_true(is_key(&r.sk, SX_ED25519, 32));
}

static void reads_a_queue_with_everything(void **state)
{
    struct sx_slog_record r = read_back(
        "CREATE rid=" RID " rk=" ED "," E448 "," X " rdh=" RDH " sid=" SID " sk=" ED2
        " queue_mode=C link_id=" LID " queue_data=" FIXED " " USER " notifier=" NID " " ED " " NDH
        " nsrv=" SRV " updated_at=" DAY_TEXT " status=blocked,reason=spam,notice={\"ttl\":60}"
        " rsrv=" SRV);

    (void)state;
    assert_int_equal(r.rk_count, 3);
    assert_true(is_key(&r.rk[0], SX_ED25519, 0));
    assert_true(is_key(&r.rk[1], SX_ED448, 0));
    assert_true(is_key(&r.rk[2], SX_X25519, 64));
    assert_true(r.has_link);
    assert_true(all(r.link_id, 3, 24));
    assert_true(sx_bytes_eq(r.fixed, sx_str("fixed data")));
    assert_true(sx_bytes_eq(r.user, sx_str("user data")));
    assert_true(r.has_nsrv);
    assert_true(all(r.nsrv, 5, 24));
    assert_true(r.has_updated_at);
    assert_int_equal(r.day, DAY);
    assert_int_equal(r.status, SX_Q_BLOCKED);
    assert_int_equal(r.reason, SX_BLOCKED_SPAM);
    assert_true(r.has_notice && r.has_ttl);
    assert_int_equal(r.ttl, 60);
    assert_true(r.has_rsrv);
    assert_true(all(r.rsrv, 5, 24));
}

static void reads_every_status(void **state)
{
    (void)state;
    struct sx_slog_record r = read_back(NEW_QUEUE " status=off");
    assert_int_equal(r.status, SX_Q_OFF);
    r = read_as(NEW_QUEUE " status=active", NEW_QUEUE);
    assert_int_equal(r.status, SX_Q_ACTIVE);
    r = read_back(NEW_QUEUE " status=blocked,reason=content rsrv=" SRV);
    assert_int_equal(r.status, SX_Q_BLOCKED);
    assert_int_equal(r.reason, SX_BLOCKED_CONTENT);
    assert_false(r.has_notice);
    assert_true(r.has_rsrv);
    r = read_back(NEW_QUEUE " status=blocked,reason=content,notice={}");
    assert_true(r.has_notice && !r.has_ttl);
    (void)read_as(NEW_QUEUE
                  " status=blocked,reason=spam,notice={\"x\":\" rsrv=\",\"ttl\":1} rsrv=" SRV,
                  NEW_QUEUE " status=blocked,reason=spam,notice={\"ttl\":1} rsrv=" SRV);
}

static void reads_changes_of_a_queue(void **state)
{
    (void)state;
    struct sx_slog_record r = read_back("LINK " RID " " LID " " FIXED " " USER);
    assert_int_equal(r.tag, SX_SLOG_LINK);
    assert_true(all(r.rid, 1, 24) && all(r.link_id, 3, 24));
    assert_true(sx_bytes_eq(r.user, sx_str("user data")));
    r = read_back("SECURE " RID " " X);
    assert_int_equal(r.tag, SX_SLOG_SECURE);
    assert_true(is_key(&r.sk, SX_X25519, 64));
    r = read_back("KEYS " RID " " ED "," ED2);
    assert_int_equal(r.tag, SX_SLOG_SET_KEYS);
    assert_int_equal(r.rk_count, 2);
    assert_true(is_key(&r.rk[1], SX_ED25519, 32));
    r = read_back("NOTIFIER " RID " " NID " " ED " " NDH);
    assert_int_equal(r.tag, SX_SLOG_NOTIFIER);
    assert_true(all(r.ntf_id, 4, 24) && all(r.ntf_secret, 0xbb, 32) && !r.has_nsrv);
    r = read_back("NOTIFIER " RID " " NID " " ED " " NDH " nsrv=" SRV);
    assert_true(r.has_nsrv && all(r.nsrv, 5, 24));
    r = read_back("BLOCK " RID " reason=content");
    assert_int_equal(r.tag, SX_SLOG_BLOCK);
    assert_int_equal(r.reason, SX_BLOCKED_CONTENT);
    r = read_back("BLOCK " RID " reason=spam,notice={\"ttl\":86400}");
    assert_true(r.has_notice && r.has_ttl && r.ttl == 86400);
    r = read_back("TIME " RID " " DAY_TEXT);
    assert_int_equal(r.tag, SX_SLOG_TIME);
    assert_int_equal(r.day, DAY);
}

static void reads_records_that_are_an_id_alone(void **state)
{
    static const struct {
        const char *line;
        enum sx_slog_tag tag;
    } rows[] = {
        { "LDELETE " RID, SX_SLOG_LDELETE }, { "NDELETE " RID, SX_SLOG_NDELETE },
        { "SUSPEND " RID, SX_SLOG_SUSPEND }, { "UNBLOCK " RID, SX_SLOG_UNBLOCK },
        { "DELETE " RID, SX_SLOG_DELETE },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_slog_record r = read_back(rows[i].line);
        assert_int_equal(r.tag, rows[i].tag);
        assert_true(all(r.rid, 1, 24));
    }
}

static void reads_services(void **state)
{
    static const char *const roles[] = { NEW_SERVICE_OF("M"), NEW_SERVICE_OF("N"),
                                         NEW_SERVICE_OF("P") };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(roles); i++) {
        struct sx_slog_record r = read_back(roles[i]);
        assert_int_equal(r.tag, SX_SLOG_NEW_SERVICE);
        assert_int_equal(r.role, "MNP"[i]);
        assert_true(all(r.service_id, 5, 24) && all(r.cert_hash, 0xcc, 32));
        assert_int_equal(r.cert_count, 2);
        assert_true(sx_bytes_eq(r.cert[0], sx_str("leaf")));
        assert_true(sx_bytes_eq(r.cert[1], sx_str("identity")));
        assert_int_equal(r.created_at, 1732147200);
    }
    struct sx_slog_record r = read_back("QUEUE_SERVICE " RID " R " SRV);
    assert_int_equal(r.tag, SX_SLOG_QUEUE_SERVICE);
    assert_true(!r.ntf && r.has_rsrv && all(r.rsrv, 5, 24));
    r = read_back("QUEUE_SERVICE " RID " N " SRV);
    assert_true(r.ntf && r.has_rsrv);
    r = read_back("QUEUE_SERVICE " RID " N ");
    assert_true(r.ntf && !r.has_rsrv);
    (void)read_as("QUEUE_SERVICE " RID " R", "QUEUE_SERVICE " RID " R ");
}

/* The reference writes these when a client sets empty link data, and cannot read them itself. */
static void reads_empty_link_data(void **state)
{
    (void)state;
    struct sx_slog_record r = read_back("LINK " RID " " LID " " FIXED " ");
    assert_true(r.fixed.len == 10 && r.user.len == 0);
    r = read_back("LINK " RID " " LID "  " USER);
    assert_true(r.fixed.len == 0 && r.user.len == 9);
    r = read_back(NEW_QUEUE " queue_mode=C link_id=" LID " queue_data=  updated_at=" DAY_TEXT);
    assert_true(r.has_link && r.fixed.len == 0 && r.user.len == 0 && r.day == DAY);
}

static void reads_base64_without_its_padding(void **state)
{
    (void)state;
    char line[] = "SECURE " RID " " ED;
    line[sizeof(line) - 2] = 0; /* the last '=' */
    struct sx_slog_record r = read_as(line, "SECURE " RID " " ED);
    assert_true(is_key(&r.sk, SX_ED25519, 0));
}

static void refuses_what_is_no_record(void **state)
{
    static const char *const lines[] = {
        "",
        " ",
        "\r",
        "CREATE",
        "CREATE ",
        "create rid=" RID,
        " " NEW_QUEUE,
        NEW_QUEUE " ",
        NEW_QUEUE " queue_mode=X",
        NEW_QUEUE " queue_mode=",
        NEW_QUEUE " sndSecure=M",
        NEW_QUEUE " queue_mode=M sndSecure=T",
        NEW_QUEUE " link_id=" LID,
        NEW_QUEUE " link_id=" LID " queue_data=" FIXED,
        NEW_QUEUE " queue_data=" FIXED " " USER,
        NEW_QUEUE " updated_at=",
        NEW_QUEUE " updated_at=-86400",
        NEW_QUEUE " updated_at=1x",
        NEW_QUEUE " updated_at=99999999999999999999",
        NEW_QUEUE " updated_at=9223372036854775807",
        NEW_QUEUE " status=",
        NEW_QUEUE " status=gone",
        NEW_QUEUE " status=blocked",
        NEW_QUEUE " status=blocked,reason=x",
        NEW_QUEUE " status=blocked,reason=spam,notice=",
        NEW_QUEUE " status=blocked,reason=spam,notice={\"ttl\":}",
        NEW_QUEUE " rsrv=",
        NEW_QUEUE " rsrv=" SRV " status=off",
        NEW_QUEUE " notifier=" NID " " ED,
        NEW_QUEUE " notifier=" NID " " ED " " NDH " nsrv=",
        "CREATE rid=" RID " rk= rdh=" RDH " sid=" SID " sk=",
        "CREATE rid=" RID " rk=" ED ", rdh=" RDH " sid=" SID " sk=",
        "CREATE rid=" RID " rk=" X448 " rdh=" RDH " sid=" SID " sk=",
        "CREATE rid=" RID " rk=" ED " rdh=" ED " sid=" SID " sk=",
        "CREATE rid=AQEB rk=" ED " rdh=" RDH " sid=" SID " sk=",
        "CREATE rid=" RID "= rk=" ED " rdh=" RDH " sid=" SID " sk=",
        "CREATE rk=" ED " rid=" RID " rdh=" RDH " sid=" SID " sk=",
        "SECURE " RID,
        "SECURE " RID " ",
        "SECURE " RID "  " ED,
        "SECURE " RID " " ED " ",
        "KEYS " RID " ",
        "KEYS " RID " " ED ",",
        "DELETE " RID " ",
        "DELETE  " RID,
        "DELETE",
        "DELETE AQEB",
        "DELETED " RID,
        "BLOCK " RID,
        "BLOCK " RID " spam",
        "BLOCK " RID " reason=spam ",
        "BLOCK " RID " reason=spamcontent",
        "TIME " RID " ",
        "TIME " RID " 12 3",
        "LINK " RID " " LID,
        "LINK " RID " " LID " " FIXED,
        "LINK " RID " " LID " " FIXED " " USER " ",
        "QUEUE_SERVICE " RID,
        "QUEUE_SERVICE " RID " M " SRV,
        "QUEUE_SERVICE " RID " R AQEB",
        NEW_SERVICE_OF("X"),
        NEW_SERVICE_OF("M") " ",
        "NEW_SERVICE service_id=" SRV " role=M cert= cert_hash=" HASH " created_at=1",
        "NEW_SERVICE service_id=" SRV " role=M cert=bGVhZg==, cert_hash=" HASH " created_at=1",
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(lines); i++)
        assert_refused(lines[i]);
}

/* Refused, or written as it was read but for padding at its end. */
static void assert_refused_or_same(simplex_bytes line)
{
    struct sx_slog_record r;
    struct sx_wr w;
    const char *what;

    if (sx_slog_decode(line, &scratch, &r, &what) != SIMPLEX_OK)
        return;
    sx_wr_init(&w, SX_SLOG_LINE_MAX);
    sx_slog_encode(&w, &r);
    assert_true(w.len >= line.len && w.len <= line.len + 2);
    assert_memory_equal(w.p, line.ptr, line.len);
    assert_true(all(w.p + line.len, '=', w.len - line.len));
    sx_wr_free(&w);
}

/* Cut anywhere, and with each byte changed. */
static void stays_strict_when_bytes_change(void **state)
{
    static const char line[] =
        "CREATE rid=" RID " rk=" ED "," E448 " rdh=" RDH " sid=" SID " sk=" ED2
        " queue_mode=C link_id=" LID " queue_data=" FIXED " " USER " notifier=" NID " " ED " " NDH
        " nsrv=" SRV " updated_at=" DAY_TEXT " status=blocked,reason=spam rsrv=" SRV;
    static const uint8_t bytes[] = { 0, ' ', '=', ',', 'A', '/', '\n', 0xff };
    uint8_t changed[sizeof(line) - 1];

    (void)state;
    for (size_t i = 0; i < sizeof(changed); i++) {
        if (line[i] >= '0' && line[i] <= '9') /* a time cut short is another time */
            continue;
        assert_refused_or_same(sx_bytes(line, i));
        for (size_t b = 0; b < sizeof(bytes); b++) {
            memcpy(changed, line, sizeof(changed));
            changed[i] = bytes[b];
            assert_refused_or_same(sx_bytes(changed, sizeof(changed)));
        }
    }
}

static void takes_255_keys_and_no_more(void **state)
{
    struct sx_slog_record r;
    struct sx_wr w;
    const char *what;

    (void)state;
    sx_wr_init(&w, SX_SLOG_LINE_MAX);
    sx_wr_text(&w, "KEYS " RID " " ED);
    for (int i = 1; i < 255; i++)
        sx_wr_text(&w, "," ED2);
    assert_int_equal(sx_slog_decode(sx_wr_bytes(&w), &scratch, &r, &what), SIMPLEX_OK);
    assert_int_equal(r.rk_count, 255);
    sx_wr_text(&w, "," ED2);
    assert_int_equal(sx_slog_decode(sx_wr_bytes(&w), &scratch, &r, &what), SIMPLEX_E_DECODE);
    sx_wr_free(&w);
}

static void does_not_write_what_cannot_be_read(void **state)
{
    struct sx_slog_record rows[5] = { { .tag = SX_SLOG_BLOCK },
                                      { .tag = SX_SLOG_SECURE },
                                      { .tag = SX_SLOG_SET_KEYS },
                                      { .tag = SX_SLOG_NEW_SERVICE } };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_wr w;
        sx_wr_init(&w, SX_SLOG_LINE_MAX);
        sx_slog_encode(&w, &rows[i]);
        assert_true(w.bad);
        sx_wr_free(&w);
    }
}

static void says_when_there_is_no_memory(void **state)
{
    struct sx_slog_scratch fresh;
    struct sx_slog_record r;
    const char *what;

    (void)state;
    sx_slog_scratch_init(&fresh);
    sx_fault_malloc(0);
    assert_int_equal(sx_slog_decode(sx_str(NEW_QUEUE), &fresh, &r, &what), SIMPLEX_E_NOMEM);
    assert_true(sx_fault_disarm());
    assert_int_equal(sx_slog_decode(sx_str(NEW_QUEUE), &fresh, &r, &what), SIMPLEX_OK);
    sx_slog_scratch_wipe(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_queue_of_version_3_4),
        cmocka_unit_test(reads_both_words_for_the_mode),
        cmocka_unit_test(reads_a_queue_with_everything),
        cmocka_unit_test(reads_every_status),
        cmocka_unit_test(reads_changes_of_a_queue),
        cmocka_unit_test(reads_records_that_are_an_id_alone),
        cmocka_unit_test(reads_services),
        cmocka_unit_test(reads_empty_link_data),
        cmocka_unit_test(reads_base64_without_its_padding),
        cmocka_unit_test(refuses_what_is_no_record),
        cmocka_unit_test(stays_strict_when_bytes_change),
        cmocka_unit_test(takes_255_keys_and_no_more),
        cmocka_unit_test(does_not_write_what_cannot_be_read),
        cmocka_unit_test(says_when_there_is_no_memory),
    };

    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    sx_slog_scratch_init(&scratch);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sx_slog_scratch_wipe(&scratch);
    return failed;
}
