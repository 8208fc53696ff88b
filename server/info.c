/* SPDX-License-Identifier: Apache-2.0 */
/* QUE: the state of a queue for its recipient, as JSON (protocol/smp.md section 6.2). */
#include <stdio.h>
#include <time.h>

#include "commands.h"

static void put_bool(struct sx_wr *w, const char *name, bool v)
{
    sx_wr_text(w, name);
    sx_wr_text(w, v ? "true" : "false");
}

static void put_id(struct sx_wr *w, const char *name, const uint8_t id[SX_ID_LEN])
{
    sx_wr_text(w, name);
    sx_wr_u8(w, '"');
    sx_b64_encode(w, sx_bytes(id, SX_ID_LEN));
    sx_wr_u8(w, '"');
}

/* Messages are pushed by whoever sends them: there is never a thread, so "noSub". */
static void put_sub(struct sx_wr *w, const struct sx_run *r)
{
    const struct sx_sub *sub = sx_sub_find(r->p, r->q, SX_SUB_MSG);
    const char *thread = "noSub";

    if (sub == NULL) {
        sub = sx_sub_find(r->p, r->q, SX_SUB_GET);
        thread = "prohibitSub";
    }
    if (sub == NULL)
        return;
    sx_wr_text(w, ",\"qiSub\":{\"qSubThread\":\"");
    sx_wr_text(w, thread);
    sx_wr_u8(w, '"');
    if (sub->in_flight)
        put_id(w, ",\"qDelivered\":", sub->delivered);
    sx_wr_u8(w, '}');
}

static void put_msg(struct sx_wr *w, const struct sx_msg *m)
{
    time_t s = (time_t)(m->ts_ms / 1000);
    char text[80];
    struct tm tm;

    put_id(w, ",\"qiMsg\":{\"msgId\":", m->id);
    gmtime_r(&s, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(m->ts_ms % 1000));
    sx_wr_text(w, ",\"msgTs\":\"");
    sx_wr_text(w, text);
    sx_wr_text(w, m->quota ? "\",\"msgType\":\"quota\"}" : "\",\"msgType\":\"message\"}");
}

static void put_info(struct sx_wr *w, const struct sx_run *r)
{
    char text[32];

    put_bool(w, "{\"qiSnd\":", r->q->snd_key.alg != SX_NO_KEY);
    put_bool(w, ",\"qiNtf\":", r->q->ntf != NULL);
    put_sub(w, r);
    snprintf(text, sizeof(text), ",\"qiSize\":%u", (unsigned)r->q->count);
    sx_wr_text(w, text);
    if (r->q->head != NULL)
        put_msg(w, r->q->head);
    sx_wr_u8(w, '}');
}

void sx_run_que(struct sx_run *r)
{
    struct sx_wr w;

    sx_wr_fixed(&w, r->text, sizeof(r->text));
    put_info(&w, r);
    if (w.bad) {
        sx_run_fail(r, SX_ERR_INTERNAL);
        return;
    }
    r->answer.rsp.tag = SX_R_INFO;
    r->answer.rsp.info.json = sx_wr_bytes(&w);
}
