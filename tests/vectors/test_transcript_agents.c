/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole agent in the place of one of the two recorded ones: it gets the recorded keys, a server
 * (tests/support/smp_peer.c) answers with the recorded answers and pushes the recorded messages of
 * the reference, and the application does what the recorded one did. The events must be the
 * recorded events, the commands sent as many as the recorded ones.
 *
 * Ratchet keys are made anew at each step, so the recorded state is put in place before each
 * recorded message: what is under test is everything around the ratchet, which has replays of its
 * own.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/event.h"
#include "play.h"
#include "ratchet_fields.h"

/* ---- what the application did and saw ---- */

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

static simplex_bytes last_word(const char *text)
{
    return vec_unhex(strrchr(text, ' ') + 1);
}

/* The third word. */
static int64_t message_id(const char *text)
{
    long long id;

    assert_int_equal(sscanf(text, "%*s %*s %lld", &id), 1);
    return id;
}

/* The address of our reply queue is not the recorded one, and so is the hash of the confirmation
 * that told it: receipts fit when the chain goes on from the recorded one. */
static simplex_rc continue_recorded_chain(struct simplex_agent *a, void *arg)
{
    const cJSON *m;
    struct sx_conn c;

    (void)arg;
    TRY(sx_store_conn_get(a->store, p.conn, &c));
    vec_each(m, vec_get(p.t.json, "ratchet_messages"))
    {
        if (strcmp(vec_text(m, "sender"), p.side) != 0)
            continue;
        sx_sha256(vec_hex(m, "plain"), c.last_snd_hash);
        break;
    }
    return sx_store_conn_update(a->store, &c);
}

static void do_command(const char *text)
{
    if (has(text, "new ")) {
        struct begin b = recorded_begin(sx_bytes(NULL, 0));
        must(run_on_loop(create_recorded, &b));
    } else if (has(text, "join ")) {
        struct begin b = recorded_begin(last_word(text));
        must(run_on_loop(join_recorded, &b));
    } else if (strcmp(text, "address") == 0) {
        struct begin b = recorded_begin(sx_bytes(NULL, 0));
        must(run_on_loop(create_recorded_address, &b));
    } else if (has(text, "accept ")) {
        struct begin b = recorded_begin(last_word(text));
        struct sx_link l;
        memset(&l, 0, sizeof l);
        must(sx_link_parse(recorded_request().link, &l));
        b.link = link_to(&b.server, &l);
        sx_link_free(&l);
        must(run_on_loop(accept_recorded, &b));
    } else if (has(text, "allow ")) {
        struct allow x = { .info = last_word(text) };
        peer_server(&p.peer, "127.0.0.1", &x.server);
        must(run_on_loop(allow_recorded, &x));
    } else if (has(text, "send ")) {
        uint32_t flags = p.pq ? SIMPLEX_SEND_PQ_ON : 0;
        if (p.sent == 0 && strcmp(p.side, "J") == 0 && p.pq)
            must(run_on_loop(continue_recorded_chain, NULL));
        must(simplex_agent_send(p.a, p.conn, last_word(text), flags, &p.sent));
    } else if (has(text, "ack ")) {
        if (has(text, " rcpt"))
            must(simplex_agent_ack_receipt(p.a, p.conn, message_id(text), (simplex_bytes){ 0 }));
        else
            must(simplex_agent_ack(p.a, p.conn, message_id(text)));
    } else if (has(text, "sync ")) {
        use_recorded_keys();
        must(simplex_agent_sync_ratchet(p.a, p.conn, false));
    } else if (has(text, "sub ")) {
        return; /* it does so by itself */
    } else {
        assert_string_equal(text, "quit");
    }
}

static void check_invitation(const simplex_event *ev)
{
    struct sx_link want;

    parse_recorded_link(&want);
    assert_same_link(simplex_event_data(ev), &want);
    sx_link_free(&want);
}

/* The copy of B ends with number 2, and the first that comes in the new ratchet is EREADY, number
 * 7: what is missing before it the reference does not tell. */
static void check_integrity(const simplex_event *ev, bool behind_eready)
{
    int64_t first, last;
    int32_t integrity = simplex_event_integrity(ev, &first, &last);

    assert_int_equal(integrity, behind_eready ? SIMPLEX_MSG_SKIPPED : SIMPLEX_MSG_OK);
    assert_true(!behind_eready || (first == 3 && last == 6));
}

static void check_message(const simplex_event *ev, const char *text)
{
    long long id, snd;

    assert_int_equal(sscanf(text, "MSG %*s %lld snd=%lld integrity=OK", &id, &snd), 2);
    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_int_equal(simplex_event_sender_id(ev), snd);
    check_integrity(ev, strcmp(p.side, "B") == 0 && snd == 8);
    assert_int_equal(simplex_event_notify(ev), has(text, "ntf=on"));
    assert_int_equal(simplex_event_pq(ev), has(text, "pq=on"));
    vec_assert_eq(simplex_event_data(ev), last_word(text), "body");
}

static void check_receipt(const simplex_event *ev, const char *text)
{
    long long own;

    assert_int_equal(sscanf(strrchr(text, ' '), " %lld:MROk", &own), 1);
    assert_int_equal(simplex_event_msg_id(ev), own);
    assert_int_equal(simplex_event_receipt(ev), SIMPLEX_RECEIPT_OK);
}

/* Made of the recorded keys by our own key agreement; the reference shows the hash of its own. */
static void check_security_code(void)
{
    const cJSON *m = vec_get(p.t.json, "ratchet_messages")->child;
    uint8_t code[32], want[32];

    sx_sha256(vec_hex(m, "ad"), want);
    must(simplex_agent_security_code(p.a, p.conn, code, NULL));
    assert_memory_equal(code, want, sizeof want);
}

static void check_rsync(const simplex_event *ev, const char *text)
{
    bool header = has(text, " required RATCHET_HEADER");
    int32_t state = has(text, " agreed -") ? SIMPLEX_SYNC_AGREED
                    : header               ? SIMPLEX_SYNC_REQUIRED
                                           : SIMPLEX_SYNC_OK;

    assert_true(state != SIMPLEX_SYNC_OK || has(text, " ok -"));
    assert_int_equal(simplex_event_sync_state(ev), state);
    assert_int_equal(simplex_event_error(ev), header ? SIMPLEX_E_RATCHET_HEADER : SIMPLEX_OK);
    if (state == SIMPLEX_SYNC_AGREED)
        check_agreement();
}

static void check_event(const char *text)
{
    static const struct {
        const char *name;
        int32_t kind;
    } shown[] = {
        { "INV ", SIMPLEX_EV_INV },       { "CONF ", SIMPLEX_EV_CONF },
        { "INFO ", SIMPLEX_EV_INFO },     { "CON ", SIMPLEX_EV_CON },
        { "MSG ", SIMPLEX_EV_MSG },       { "SENT ", SIMPLEX_EV_SENT },
        { "JOINED ", SIMPLEX_EV_JOINED }, { "ADDR ", SIMPLEX_EV_INV },
        { "REQ ", SIMPLEX_EV_REQ },       { "ACCEPTED ", SIMPLEX_EV_JOINED },
        { "RSYNC ", SIMPLEX_EV_RSYNC },   { "RCVD ", SIMPLEX_EV_RCVD },
    };
    simplex_event *ev = NULL;

    for (size_t n = 0; n < SX_COUNT(shown) && ev == NULL; n++) {
        if (strncmp(text, shown[n].name, strlen(shown[n].name)) == 0)
            ev = event(shown[n].kind);
    }
    if (strncmp(text, "QUEUED ", 7) == 0)
        assert_int_equal(p.sent, message_id(text));
    if (ev == NULL)
        return; /* answers to commands */
    assert_int_equal(simplex_event_conn(ev), p.conn);
    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
        check_invitation(ev);
        break;
    case SIMPLEX_EV_CONF:
        p.conf = simplex_event_conf(ev);
        check_security_code();
        vec_assert_eq(simplex_event_data(ev), last_word(text), "CONF");
        assert_int_equal(simplex_event_pq(ev), has(text, "pq=on"));
        break;
    case SIMPLEX_EV_REQ:
        p.conf = simplex_event_request(ev);
        vec_assert_eq(simplex_event_data(ev), last_word(text), "REQ");
        assert_int_equal(simplex_event_pq(ev), has(text, "pq=on") && sx_kem_available());
        break;
    case SIMPLEX_EV_INFO:
        vec_assert_eq(simplex_event_data(ev), last_word(text), "INFO");
        assert_int_equal(simplex_event_pq(ev), has(text, "pq=on"));
        break;
    case SIMPLEX_EV_CON:
        assert_int_equal(simplex_event_pq(ev), has(text, "pq=on"));
        break;
    case SIMPLEX_EV_MSG:
        check_message(ev, text);
        break;
    case SIMPLEX_EV_RCVD:
        check_receipt(ev, text);
        break;
    case SIMPLEX_EV_SENT:
        assert_int_equal(simplex_event_msg_id(ev), message_id(text));
        break;
    case SIMPLEX_EV_RSYNC:
        check_rsync(ev, text);
        break;
    default:
        break;
    }
    simplex_event_free(ev);
}

/* By itself: nothing more is done for it. */
static void expect_command(int n)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    p.want[n]++;
    while (p.got[n] < p.want[n] && sx_mono_ms() < until)
        pump();
    if (p.got[n] < p.want[n])
        fail_msg("%s: no %s", p.side, sx_cmd_name(counted[n]));
}

/* ---- a run ---- */

static void agent_start(void)
{
    char path[300];
    const char *servers[] = { p.address };
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = path,
                                 .db_key = sx_str("0123456789abcdef0123456789abcdef"),
                                 .db_raw_key = true,
                                 .servers = servers,
                                 .n_servers = 1,
                                 .retry_first = 50 };

    (void)snprintf(path, sizeof path, "%s/agent.db", p.dir);
    must(simplex_agent_open(&cfg, &p.a));
}

static void copy_database(const char *from, const char *to)
{
    static uint8_t bytes[4 << 20];
    char path[300];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", p.dir, from);
    f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    assert_true(n < sizeof bytes && fclose(f) == 0);
    (void)snprintf(path, sizeof path, "%s/%s", p.dir, to);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* B's program ended and began again: the first time its database is copied, the second time it is
 * exchanged for the copy. */
static void restart(int64_t t_ms)
{
    char age[300];

    if (p.starts++ == 0)
        return;
    while (p.n_held > 0)
        simplex_event_free(p.held[--p.n_held]);
    must(simplex_agent_close(p.a));
    if (p.starts == 2) {
        for (; vec_int(p.op, "t_ms") < t_ms; p.op = p.op->next)
            merge(p.ratchet, vec_opt(p.op, "changed"));
        p.copied = cJSON_Duplicate(p.ratchet, 1);
        copy_database("agent.db", "copy.db");
    } else {
        copy_database("copy.db", "agent.db");
        (void)snprintf(age, sizeof age, "%s/agent.db-age", p.dir);
        assert_int_equal(unlink(age), 0); /* the reference does not know before it reads */
        while (vec_int(p.op, "t_ms") < t_ms)
            p.op = p.op->next;
        cJSON_Delete(p.ratchet);
        p.ratchet = p.copied;
    }
    agent_start();
}

static void finish(void)
{
    for (int n = 0; n < 30; n++) /* more than that would be wrong as well */
        pump();
    for (int n = 0; n < TAGS; n++) {
        if (p.got[n] != p.want[n])
            fail_msg("%s: %u times %s instead of %u", p.side, p.got[n], sx_cmd_name(counted[n]),
                     p.want[n]);
    }
    while (p.n_held > 0)
        simplex_event_free(p.held[--p.n_held]);
    must(simplex_agent_close(p.a));
    tmp_remove(p.dir);
    peer_stop(&p.peer);
    (void)uv_run(&p.loop, UV_RUN_DEFAULT);
    peer_free(&p.peer);
    assert_int_equal(uv_loop_close(&p.loop), 0);
    cJSON_Delete(p.ratchet);
    tr_close(&p.t);
}

static void play_it(const char *file, const char *side, unsigned messages, unsigned events,
                    bool twice)
{
    memset(&p, 0, sizeof p);
    p.side = side;
    p.twice = twice;
    tr_open(&p.t, file);
    load_story();
    p.pq = sx_kem_available() && p.version >= 9 && side_is("IJ");
    server_open();
    tmp_make(p.dir);
    agent_start();
    for (size_t n = 0; n < p.n_items; n++) {
        const struct item *x = &p.items[n];
        if (x->push != NULL)
            push(x->push);
        else if (x->command >= 0)
            expect_command(x->command);
        else if (strcmp(vec_text(x->api, "dir"), "command") == 0)
            do_command(vec_text(x->api, "text"));
        else if (strncmp(vec_text(x->api, "text"), "READY", 5) == 0)
            restart(x->t_ms);
        else
            check_event(vec_text(x->api, "text"));
    }
    assert_int_equal(p.messages, messages);
    assert_int_equal(p.events, events);
    assert_int_equal(p.asked, side_is("OR"));
    finish();
}

static void play(const char *file, const char *side, unsigned messages, unsigned events)
{
    play_it(file, side, messages, events, false);
}

static void plays_the_initiator_of_the_fast_handshake(void **state)
{
    (void)state;
    if (!sx_kem_available())
        skip();
    play("transcript-agents.json", "I", 5, 10);
}

static void plays_the_joiner_of_the_fast_handshake(void **state)
{
    (void)state;
    if (!sx_kem_available())
        skip();
    play("transcript-agents.json", "J", 5, 10);
}

static void plays_the_initiator_of_the_standard_handshake(void **state)
{
    (void)state;
    play("transcript-agents-standard.json", "I", 3, 5);
}

static void plays_the_joiner_of_the_standard_handshake(void **state)
{
    (void)state;
    play("transcript-agents-standard.json", "J", 3, 5);
}

static void plays_the_owner_of_a_contact_address(void **state)
{
    (void)state;
    play("transcript-contact.json", "O", 2, 7);
}

static void plays_the_requester_at_a_contact_address(void **state)
{
    (void)state;
    play("transcript-contact.json", "R", 2, 5);
}

static void plays_the_peer_of_an_old_copy(void **state)
{
    (void)state;
    play("transcript-resync.json", "A", 6, 14);
    assert_true(p.ratchet_keys == 1 && p.ereadies == 1);
}

static void plays_the_restored_copy(void **state)
{
    (void)state;
    play("transcript-resync.json", "B", 7, 14);
    assert_true(p.ratchet_keys == 1 && p.ereadies == 1);
}

/* Nothing changes but the number of ACKs: no event, no number, no receipt, no other state. */
static void every_message_of_the_reference_may_come_twice(void **state)
{
    static const struct {
        const char *file, *side;
        unsigned messages, events, repeated;
    } all[] = {
        { "transcript-agents-standard.json", "I", 3, 5, 2 },
        { "transcript-agents-standard.json", "J", 3, 5, 2 },
        { "transcript-contact.json", "O", 2, 7, 1 },
        { "transcript-contact.json", "R", 2, 5, 1 },
        { "transcript-resync.json", "A", 6, 14, 5 },
        { "transcript-resync.json", "B", 7, 14, 5 },
    };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(all); n++) {
        play_it(all[n].file, all[n].side, all[n].messages, all[n].events, true);
        assert_int_equal(p.repeated, all[n].repeated);
    }
    if (sx_kem_available()) {
        play_it("transcript-agents.json", "I", 5, 10, true);
        play_it("transcript-agents.json", "J", 5, 10, true);
        assert_int_equal(p.repeated, 4);
    }
}

static int set_up(void **state)
{
    (void)state;
    return sx_crypto_init() == SIMPLEX_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    vec_free_all();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(plays_the_initiator_of_the_fast_handshake, tear_down),
        cmocka_unit_test_teardown(plays_the_joiner_of_the_fast_handshake, tear_down),
        cmocka_unit_test_teardown(plays_the_initiator_of_the_standard_handshake, tear_down),
        cmocka_unit_test_teardown(plays_the_joiner_of_the_standard_handshake, tear_down),
        cmocka_unit_test_teardown(plays_the_peer_of_an_old_copy, tear_down),
        cmocka_unit_test_teardown(plays_the_restored_copy, tear_down),
        cmocka_unit_test_teardown(plays_the_owner_of_a_contact_address, tear_down),
        cmocka_unit_test_teardown(plays_the_requester_at_a_contact_address, tear_down),
        cmocka_unit_test_teardown(every_message_of_the_reference_may_come_twice, tear_down),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
