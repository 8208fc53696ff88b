/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start and end of persistence. At the start, in this order: queues and services from the store
 * log, messages from the journal, messages and notifications that the reference, or we when
 * messages were kept in memory, wrote at the last stop. A file that was taken over is renamed to
 * .bak, when what it told is durable elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msg_log.h"
#include "persist_compact.h"
#include "persist_files.h"
#include "store_index.h"
#include "store_load.h"

#define COMMIT_IDLE_MS 1000
#define COMMIT_RETRY_MS 1000

static const char *const file_name[SX_STATE_FILES] = {
    [SX_FILE_QUEUES] = "smp-server-store.log",
    [SX_FILE_MESSAGES] = "smp-server-messages.log",
    [SX_FILE_NTFS] = "smp-server-ntfs.log",
    [SX_FILE_JOURNAL] = "smp-server-journal",
};

static void warn(void *user, const char *text)
{
    (void)user;
    sx_log(SX_LOG_WARN, "%s", text);
}

/* ---- the committing thread ---- */

static simplex_rc first_error(simplex_rc a, simplex_rc b)
{
    return a != SIMPLEX_OK ? a : b;
}

/* Queues before messages: a message of a queue that is not on disk would be forgotten, and one that
 * is forgotten with its queue must be there as long as that. */
static simplex_rc commit(struct sx_persist *p, simplex_rc (*queues)(struct sx_slog *log),
                         simplex_rc (*messages)(struct sx_journal *j))
{
    if (p->journal != NULL)
        sx_journal_note_forgotten(p->journal);
    simplex_rc rc = queues(p->log);
    if (p->journal == NULL)
        return rc;
    if (rc == SIMPLEX_OK)
        sx_journal_let_go(p->journal);
    return first_error(rc, messages(p->journal));
}

static simplex_rc sync_all(void *user)
{
    struct sx_persist *p = user;

    simplex_rc rc = commit(p, sx_slog_sync, sx_journal_sync);
    if (rc != SIMPLEX_OK)
        sx_log(SX_LOG_ERROR,
               "the state beside %s cannot be written: %s. Commands that change something fail "
               "until it can: make room, or mend the disk",
               p->path[SX_FILE_QUEUES], sx_file_rc_text(rc));
    return rc;
}

static simplex_rc recover_all(void *user)
{
    struct sx_persist *p = user;

    simplex_rc rc = commit(p, sx_slog_recover, sx_journal_recover);
    if (rc == SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "the state can be written again; nothing that was answered is lost");
    return rc;
}

static bool tidy(void *user)
{
    struct sx_persist *p = user;

    bool more = sx_persist_compact(p);
    return (p->journal != NULL && sx_journal_tidy(p->journal)) || more;
}

static void done(void *user)
{
    struct sx_persist *p = user;

    if (p->cfg.done != NULL)
        p->cfg.done(p->cfg.user);
}

/* ---- reading ---- */

static bool load_message(void *user, const uint8_t *rid, struct sx_msg *m)
{
    struct sx_persist *p = user;
    struct sx_queue *q = sx_qstore_find(p->st, SX_BY_RCV, sx_bytes(rid, SX_ID_LEN));

    if (q == NULL) {
        p->strangers++;
        return false;
    }
    sx_queue_restore(p->st, q, m);
    sx_queue_unref(q);
    return true;
}

static simplex_rc open_journal(struct sx_persist *p, struct sx_errtext *err)
{
    struct sx_journal_cfg cfg = {
        .dir = p->path[SX_FILE_JOURNAL],
        .segment_size = p->cfg.journal_segment,
        .skip_damage = p->cfg.skip_damage,
        .stripes = p->st->stripe,
        .load = load_message,
        .user = p,
        .warn = warn,
    };

    return sx_journal_open(&cfg, err, &p->journal);
}

static simplex_rc rename_to_bak(const char *path, struct sx_errtext *err)
{
    char bak[4096];
    int n = snprintf(bak, sizeof(bak), "%s.bak", path);

    if (n > 0 && (size_t)n < sizeof(bak) && (rename(path, bak) == 0 || errno == ENOENT))
        return SIMPLEX_OK;
    if (errno == ENOTEMPTY || errno == EEXIST) { /* an earlier journal: both are kept */
        n = snprintf(bak, sizeof(bak), "%s.%" PRId64 ".bak", path, sx_now_ms());
        if (n > 0 && (size_t)n < sizeof(bak) && rename(path, bak) == 0)
            return SIMPLEX_OK;
    }
    sx_errtext_set(err, "cannot rename %s to .bak: %s", path, strerror(errno));
    return SIMPLEX_E_SYSTEM;
}

/*
 * Messages of a deleted queue are met by the start after that, which has found its lines in the
 * log. A log without any was emptied by something else (it was restored to a full disk), or that
 * start was interrupted, which cannot be told apart: so they are kept for when the log is found.
 */
static simplex_rc open_own_journal(struct sx_persist *p, struct sx_errtext *err)
{
    const char *path = p->path[SX_FILE_JOURNAL];
    simplex_rc rc = open_journal(p, err);

    if (rc != SIMPLEX_OK || !p->log_was_empty || p->strangers == 0 || p->cfg.skip_damage)
        return rc;
    sx_log(SX_LOG_WARN,
           "%s is empty, and in %s there are %zu messages of queues that are not in it: they are "
           "kept, with .bak behind the name. If these queues were not deleted, stop the server, "
           "restore the log from a backup and move the messages back",
           p->path[SX_FILE_QUEUES], path, p->strangers);
    sx_journal_close(p->journal);
    p->journal = NULL;
    rc = rename_to_bak(path, err);
    return rc == SIMPLEX_OK ? open_journal(p, err) : rc;
}

/* Under both names, until something else is written to the first. */
static simplex_rc link_to_bak(const char *path, struct sx_errtext *err)
{
    char bak[SX_PATH_MAX];

    (void)snprintf(bak, sizeof(bak), "%s.bak", path);
    if ((unlink(bak) == 0 || errno == ENOENT) && link(path, bak) == 0)
        return SIMPLEX_OK;
    sx_errtext_set(err, "cannot keep %s as %s: %s", path, bak, strerror(errno));
    return SIMPLEX_E_SYSTEM;
}

/* Some file systems cannot: then the renames are durable when they are. */
static void sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        sx_log(SX_LOG_WARN, "cannot sync %s: %s", dir, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
}

static void report(const char *what, const struct sx_msg_log_count *c)
{
    if (c->loaded + c->known + c->no_queue + c->bad > 0)
        sx_log(c->no_queue > 0 ? SX_LOG_WARN : SX_LOG_INFO,
               "%s: %zu taken over, %zu known already, %zu of queues that are gone", what,
               c->loaded, c->known, c->no_queue);
}

/* The file of messages stays until it is written again. */
static bool is_rewritten(const struct sx_persist *p)
{
    return p->cfg.messages == SX_KEEP_MEMORY && p->cfg.offline;
}

static simplex_rc load_saved(struct sx_persist *p, struct sx_errtext *err)
{
    struct sx_msg_log_count messages, ntfs;

    if (p->cfg.messages == SX_KEEP_NOT)
        return SIMPLEX_OK;
    simplex_rc rc =
        sx_msg_log_load(p->st, p->path[SX_FILE_MESSAGES], p->cfg.skip_damage, &messages, err);
    /* What was left out is not in what maintenance will write in place of the file. */
    if (rc == SIMPLEX_OK && is_rewritten(p) && messages.no_queue + messages.bad > 0)
        rc = link_to_bak(p->path[SX_FILE_MESSAGES], err);
    if (rc == SIMPLEX_OK)
        rc = sx_ntf_log_load(p->st, p->path[SX_FILE_NTFS], &ntfs, err);
    if (rc != SIMPLEX_OK)
        return rc;
    /* The files are about to be retired. What is known already may have been read from a journal
     * that a start before, which was interrupted here, had not synced. Without anything of theirs a
     * full disk is no reason not to start: what is stored can be delivered, and the committing
     * thread tries again. */
    if (messages.loaded + messages.known + ntfs.loaded > 0 && (rc = sync_all(p)) != SIMPLEX_OK) {
        sx_errtext_set(err, "cannot write to %s: %s", p->path[SX_FILE_JOURNAL],
                       sx_file_rc_text(rc));
        return rc;
    }
    p->loaded_ntfs = ntfs.loaded;
    report("messages", &messages);
    report("notifications", &ntfs);
    return SIMPLEX_OK;
}

/*
 * The last step of a start, because with messages in memory the file is all there is until the next
 * stop; messages behind notifications, which are only hints. Durable, or messages that were
 * acknowledged meanwhile would be there again after a loss of power. Offline nothing is
 * acknowledged, and messages that were in memory alone until they are saved could be lost.
 */
static simplex_rc retire_saved(const struct sx_persist *p, struct sx_errtext *err)
{
    simplex_rc rc = SIMPLEX_OK;

    if (p->cfg.messages == SX_KEEP_NOT || is_rewritten(p))
        return rc;
    rc = rename_to_bak(p->path[SX_FILE_NTFS], err);
    if (rc == SIMPLEX_OK)
        rc = rename_to_bak(p->path[SX_FILE_MESSAGES], err);
    if (rc == SIMPLEX_OK)
        sync_dir(p->cfg.dir);
    return rc;
}

/*
 * Messages were in the journal and are to be in memory: they are saved the other way first, with
 * those of a file that is there already, because the reference has run meanwhile or an earlier
 * start was interrupted here. Where no messages are restored, the journal is left as it is.
 */
static simplex_rc leave_journal(struct sx_persist *p, struct sx_errtext *err)
{
    struct sx_msg_log_count count;

    if (p->cfg.messages == SX_KEEP_NOT || access(p->path[SX_FILE_JOURNAL], F_OK) != 0)
        return SIMPLEX_OK;
    simplex_rc rc = open_journal(p, err);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_journal_close(p->journal);
    p->journal = NULL;
    rc = sx_msg_log_load(p->st, p->path[SX_FILE_MESSAGES], p->cfg.skip_damage, &count, err);
    if (rc == SIMPLEX_OK)
        rc = sx_msg_log_save(p->st, p->path[SX_FILE_MESSAGES], err);
    return rc == SIMPLEX_OK ? rename_to_bak(p->path[SX_FILE_JOURNAL], err) : rc;
}

/* ---- life ---- */

static simplex_rc set_paths(struct sx_persist *p)
{
    size_t dir = strlen(p->cfg.dir);

    for (size_t i = 0; i < SX_STATE_FILES; i++) {
        size_t size = dir + 1 + strlen(file_name[i]) + 1;
        p->path[i] = sx_malloc(size);
        if (p->path[i] == NULL)
            return SIMPLEX_E_NOMEM;
        (void)snprintf(p->path[i], size, "%s/%s", p->cfg.dir, file_name[i]);
    }
    return SIMPLEX_OK;
}

static simplex_rc free_persist(struct sx_persist *p)
{
    sx_journal_close(p->journal);
    simplex_rc rc = sx_slog_close(p->log);
    if (rc != SIMPLEX_OK)
        sx_log(SX_LOG_ERROR, "%s: %s", p->path[SX_FILE_QUEUES], sx_file_rc_text(rc));
    for (size_t i = 0; i < SX_STATE_FILES; i++)
        sx_free(p->path[i]);
    sx_free(p);
    return rc;
}

/* A journal has a file with room for messages from its first start on. */
static bool may_have_messages(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && (S_ISDIR(st.st_mode) || st.st_size > 0);
}

/*
 * Every start leaves a log of queues. Who finds messages without one (a backup was restored in
 * part, a file was moved away) would take them for those of queues that are deleted, and drop them.
 */
static simplex_rc check_log_is_there(const struct sx_persist *p, struct sx_errtext *err)
{
    static const enum sx_state_file files[] = { SX_FILE_JOURNAL, SX_FILE_MESSAGES };
    const char *log = p->path[SX_FILE_QUEUES];
    char start[SX_PATH_MAX]; /* its name when a start was interrupted */

    (void)snprintf(start, sizeof(start), "%s.start", log);
    if (p->cfg.messages == SX_KEEP_NOT || p->cfg.skip_damage || access(log, F_OK) == 0 ||
        errno != ENOENT || access(start, F_OK) == 0)
        return SIMPLEX_OK;
    for (size_t i = 0; i < SX_COUNT(files); i++) {
        const char *path = p->path[files[i]];
        if (!may_have_messages(path))
            continue;
        sx_errtext_set(err,
                       "%s is missing, and in %s there may be messages of its queues: restore the "
                       "log from a backup; or start with --skip-warnings to go on without these "
                       "queues and messages",
                       log, path);
        return SIMPLEX_E_DB_DAMAGED;
    }
    return SIMPLEX_OK;
}

/* Not while a start that was interrupted has left it under its other name. */
static bool is_log_empty(const struct sx_persist *p)
{
    char start[SX_PATH_MAX];
    struct stat st;

    (void)snprintf(start, sizeof(start), "%s.start", p->path[SX_FILE_QUEUES]);
    return stat(p->path[SX_FILE_QUEUES], &st) == 0 && st.st_size == 0 && access(start, F_OK) != 0;
}

static simplex_rc read_state(struct sx_persist *p, struct sx_errtext *err)
{
    struct sx_load_cfg cfg = {
        .path = p->path[SX_FILE_QUEUES],
        .skip_damage = p->cfg.skip_damage,
        .warn = warn,
    };

    if (mkdir(p->cfg.dir, 0700) == 0 ? !sx_dir_sync_parent(p->cfg.dir) : errno != EEXIST) {
        sx_errtext_set(err, "cannot make the directory %s: %s", p->cfg.dir, sx_file_error(errno));
        return SIMPLEX_E_SYSTEM;
    }
    simplex_rc rc = check_log_is_there(p, err);
    p->log_was_empty = is_log_empty(p);
    if (rc == SIMPLEX_OK)
        rc = sx_store_load(p->st, &cfg, NULL, err, &p->log);
    if (rc == SIMPLEX_OK)
        rc = p->cfg.messages == SX_KEEP_DISK ? open_own_journal(p, err) : leave_journal(p, err);
    if (rc == SIMPLEX_OK) {
        p->st->persist = p; /* what is loaded from now on is recorded */
        rc = load_saved(p, err);
    }
    return rc;
}

simplex_rc sx_persist_open(const struct sx_persist_cfg *cfg, struct sx_store *st,
                           struct sx_errtext *err)
{
    struct sx_persist *p = sx_calloc(1, sizeof(*p));

    if (p == NULL)
        return SIMPLEX_E_NOMEM;
    p->cfg = *cfg;
    p->st = st;
    simplex_rc rc = set_paths(p);
    if (rc == SIMPLEX_OK)
        rc = read_state(p, err);
    if (rc == SIMPLEX_OK) {
        struct sx_commit_cfg commit = {
            .sync = sync_all,
            .recover = recover_all,
            .tidy = tidy,
            .done = done,
            .user = p,
            .idle_ms = COMMIT_IDLE_MS,
            .retry_ms = COMMIT_RETRY_MS,
        };
        rc = sx_commit_open(&commit, &p->commit);
    }
    if (rc == SIMPLEX_OK)
        rc = retire_saved(p, err);
    p->cfg.dir = NULL; /* the caller's */
    if (rc == SIMPLEX_OK)
        return SIMPLEX_OK;
    (void)sx_commit_close(p->commit); /* what it could not write is still in the files */
    p->commit = NULL;
    st->persist = NULL;
    (void)free_persist(p);
    return rc;
}

simplex_rc sx_persist_save(struct sx_store *st, struct sx_errtext *err)
{
    struct sx_persist *p = st->persist;
    simplex_rc rc = SIMPLEX_OK;

    if (p == NULL)
        return SIMPLEX_OK;
    if (p->cfg.messages == SX_KEEP_MEMORY)
        rc = sx_msg_log_save(st, p->path[SX_FILE_MESSAGES], err);
    if (p->cfg.messages == SX_KEEP_NOT)
        return SIMPLEX_OK;
    return first_error(rc, sx_ntf_log_save(st, p->path[SX_FILE_NTFS], err));
}

/* The committing thread does this when it has time, which maintenance does not give it: damage that
 * was left out would be met again by the next start. */
static void tidy_now(struct sx_persist *p)
{
    if (p->cfg.offline && p->journal != NULL)
        while (sx_journal_tidy(p->journal)) {
        }
}

simplex_rc sx_persist_close(struct sx_store *st)
{
    char text[512] = "";
    struct sx_errtext err = { text, sizeof(text) };
    struct sx_persist *p = st->persist;

    if (p == NULL)
        return SIMPLEX_OK;
    simplex_rc rc = sx_commit_close(p->commit);
    p->commit = NULL;
    if (rc == SIMPLEX_OK)
        tidy_now(p);
    else
        sx_log(SX_LOG_ERROR, "the last changes could not be written: %s", sx_file_rc_text(rc));
    simplex_rc saved = sx_persist_save(st, &err);
    if (saved != SIMPLEX_OK)
        sx_log(SX_LOG_ERROR, "%s", text);
    st->persist = NULL;
    return first_error(first_error(rc, saved), free_persist(p));
}
