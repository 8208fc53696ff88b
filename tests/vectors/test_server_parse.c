/* SPDX-License-Identifier: Apache-2.0 */
/* What the server answers to odd blocks: `server_parse` of encodings.json. */
#include "support/server_mem.h"

#define ROWS 41

/* The recorded session id is the one of the v6 rows. */
static void open_client(struct mem_server *m, struct mem_client *c, const cJSON *row,
                        simplex_bytes session_id)
{
    memset(c, 0, sizeof(*c));
    c->m = m;
    c->server.state = SX_S_READY;
    c->server.version = (uint16_t)vec_int(row, "version");
    memcpy(c->server.id, session_id.ptr, session_id.len);
    c->server.id_len = (uint8_t)session_id.len;
    assert_int_equal(sx_keypair_new(SX_X25519, &c->server.own), SIMPLEX_OK);
    sx_peer_init(&c->peer, &m->hub[0], &c->server, c);
}

/*
 * A recorded error is compared byte by byte. What the parser accepted was run: there are no
 * queues, so the answer is AUTH, or PONG.
 */
static void check_answer(const cJSON *row, const cJSON *want, const struct mem_item *got)
{
    vec_assert_eq(got->t.entity_id, vec_hex(want, "entity_id"), vec_text(row, "name"));
    if (vec_opt(want, "error") != NULL) {
        struct sx_wr w;
        sx_wr_init(&w, SX_BLOCK);
        mem_assert_tag(&got->rsp, SX_R_ERR);
        sx_smp_err_encode(&w, &got->rsp.err, (uint16_t)vec_int(row, "version"));
        vec_assert_eq(sx_wr_bytes(&w), vec_hex(want, "error"), vec_text(row, "name"));
        sx_wr_free(&w);
    } else if (sx_bytes_eq(vec_hex(want, "accepted"), sx_str("PING"))) {
        mem_assert_tag(&got->rsp, SX_R_PONG);
    } else {
        mem_assert_err(&got->rsp, SX_ERR_AUTH);
    }
}

static void run_row(struct mem_server *m, const cJSON *row, simplex_bytes session_id)
{
    struct mem_client c;
    const cJSON *want;
    const struct mem_item *got;
    int n = 0, left = 0;

    open_client(m, &c, row, session_id);
    mem_content(&c, vec_hex(row, "block_content"));
    mem_receive(&c);
    for (got = c.first; got != NULL; got = got->next)
        left++;
    vec_each(want, vec_get(row, "results"))
    {
        n++;
        for (got = c.first; got != NULL; got = got->next)
            if (sx_bytes_eq(got->t.corr_id, vec_hex(want, "corr_id")))
                break;
        if (got == NULL)
            fail_msg("%s: no answer", vec_text(row, "name"));
        check_answer(row, want, got);
    }
    assert_int_equal(n, left);
    mem_disconnect(&c);
}

static void answers_bad_blocks_as_recorded(void **state)
{
    cJSON *json = vec_load("encodings.json");
    simplex_bytes session_id = vec_hex(json, "session_id");
    struct mem_server m;
    const cJSON *row;
    int rows = 0;

    (void)state;
    mem_open(&m, NULL);
    vec_each(row, vec_get(json, "server_parse"))
    {
        run_row(&m, row, session_id);
        rows++;
    }
    assert_int_equal(rows, ROWS);
    mem_close(&m);
    cJSON_Delete(json);
    vec_free_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(answers_bad_blocks_as_recorded) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
