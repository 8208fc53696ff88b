/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store log grows with everything clients change. When it has grown `factor` times since it was
 * last written anew (and beyond a size that is not worth the trouble), what lives is written anew,
 * in slices between commits. What lives may be all of it; then the log may grow by that factor
 * again, so that over time the work is in proportion to what clients do.
 */
#include "persist_compact.h"

#include "services.h"
#include "store_index.h"
#include "store_load.h"
#include "store_log_compact.h"

#define SLICE (256u << 10) /* bytes between two commits, about */
#define WALK 256
#define RETRY_MS 600000 /* after a failure, usually of a full disk */

static bool put(void *to, const struct sx_slog_record *r, uint16_t *mark)
{
    sx_slog_compact_put(to, r, mark);
    return true;
}

/* ---- begin and end ---- */

static bool is_wanted(struct sx_persist *p)
{
    uint64_t bytes, base;

    if (p->cfg.compact_factor == 0 || sx_mono_ms() < p->compact.retry_ms)
        return false;
    sx_slog_growth(p->log, &bytes, &base);
    return bytes > p->cfg.compact_min && bytes > base && bytes / p->cfg.compact_factor >= base;
}

static void give_up(struct sx_persist *p, simplex_rc rc)
{
    sx_slog_compact_abort(p->log);
    p->compact.stage = SX_COMPACT_IDLE;
    p->compact.retry_ms = sx_mono_ms() + RETRY_MS;
    atomic_fetch_add(&p->compact.failures, 1);
    sx_log(SX_LOG_WARN,
           "%s could not be compacted (%s) and goes on as it is; tried again in %d minutes",
           p->path[SX_FILE_QUEUES], sx_file_rc_text(rc), RETRY_MS / 60000);
}

static void begin(struct sx_persist *p)
{
    struct sx_compacting *c = &p->compact;
    uint64_t base;

    c->shard = 0;
    c->cursor = 0;
    c->started_ms = sx_mono_ms();
    sx_slog_growth(p->log, &c->before, &base);
    c->stage = SX_COMPACT_SERVICES;
    simplex_rc rc = sx_slog_compact_begin(p->log);
    if (rc != SIMPLEX_OK)
        give_up(p, rc);
}

static void end(struct sx_persist *p)
{
    struct sx_compacting *c = &p->compact;
    uint64_t bytes, base;

    simplex_rc rc = sx_slog_compact_end(p->log);
    if (rc != SIMPLEX_OK) {
        give_up(p, rc);
        return;
    }
    c->stage = SX_COMPACT_IDLE;
    sx_slog_growth(p->log, &bytes, &base);
    atomic_fetch_add(&c->done, 1);
    atomic_fetch_add(&c->total_ms, (uint64_t)(sx_mono_ms() - c->started_ms));
    sx_log(SX_LOG_INFO, "store log compacted: from %" PRIu64 " to %" PRIu64 " KiB", c->before >> 10,
           base >> 10);
}

/* ---- a slice ---- */

static void put_services(struct sx_persist *p)
{
    struct sx_compacting *c = &p->compact;

    (void)sx_services_put(p->st, &c->cursor, put, p->log); /* false: see put */
    if (c->cursor != 0)
        return;
    sx_slog_compact_queues(p->log);
    c->stage = SX_COMPACT_QUEUES;
}

static simplex_rc put_queues(struct sx_persist *p)
{
    struct sx_compacting *c = &p->compact;
    struct sx_queue *found[WALK];

    size_t n = sx_qstore_walk(p->st, c->shard, &c->cursor, found, WALK);
    for (size_t i = 0; i < n; i++) {
        (void)sx_load_put_queue(p->st, found[i], put, p->log);
        sx_queue_unref(found[i]);
    }
    if (c->cursor & SX_WALK_SHORT) /* only in a table that found no memory to grow */
        return SIMPLEX_E_NOMEM;
    if (c->cursor == 0)
        c->shard++;
    return SIMPLEX_OK;
}

static simplex_rc put_slice(struct sx_persist *p)
{
    size_t bytes, slice = p->cfg.compact_slice == 0 ? SLICE : p->cfg.compact_slice;
    simplex_rc rc = SIMPLEX_OK;

    for (size_t sum = 0; rc == SIMPLEX_OK && sum < slice && p->compact.shard < SX_STORE_SHARDS;
         sum += bytes) {
        if (p->compact.stage == SX_COMPACT_SERVICES)
            put_services(p);
        else
            rc = put_queues(p);
        bytes = 0;
        if (rc == SIMPLEX_OK)
            rc = sx_slog_compact_write(p->log, &bytes);
    }
    return rc;
}

bool sx_persist_compact(struct sx_persist *p)
{
    struct sx_compacting *c = &p->compact;

    if (c->stage == SX_COMPACT_IDLE) {
        if (!is_wanted(p))
            return false;
        begin(p);
    }
    if (c->stage == SX_COMPACT_IDLE)
        return false;
    simplex_rc rc = put_slice(p);
    if (rc != SIMPLEX_OK)
        give_up(p, rc);
    else if (c->shard == SX_STORE_SHARDS)
        end(p);
    return c->stage != SX_COMPACT_IDLE;
}
