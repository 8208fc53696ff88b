/* SPDX-License-Identifier: Apache-2.0 */
/* The users of an agent in memory, and the servers that each of them uses. */
#include "agent/users.h"

void sx_server_list_free(struct sx_server_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].password != NULL)
            sx_free_secret(l->v[i].password, strlen(l->v[i].password));
    }
    sx_free(l->v);
    *l = (struct sx_server_list){ 0 };
}

static void user_free(struct sx_user *u)
{
    sx_server_list_free(&u->own);
    sx_free(u);
}

static void free_all(struct sx_user *u)
{
    while (u != NULL) {
        struct sx_user *next = u->next;
        user_free(u);
        u = next;
    }
}

void sx_users_free(struct simplex_agent *a)
{
    free_all(a->users);
    a->users = NULL;
}

/* ---- reading ---- */

static simplex_rc read_server(const struct sx_server_row *r, struct sx_user_server *s)
{
    simplex_bytes password;
    simplex_rc rc = sx_server_parse(r->server, &s->server, &password);

    if (rc != SIMPLEX_OK)
        return SIMPLEX_E_DB_DAMAGED;
    s->operator_id = r->operator_id;
    s->flags = r->flags;
    if (password.len == 0)
        return SIMPLEX_OK;
    s->password = (char *)sx_memdup(password);
    return s->password != NULL ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

static simplex_rc count_servers(struct simplex_agent *a, int64_t user, size_t *n)
{
    struct sx_server_row r = { 0 };
    simplex_rc rc;

    for (*n = 0;; ++*n) {
        rc = sx_store_user_server_next(a->store, user, r.position, &r);
        if (rc != SIMPLEX_OK)
            return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
        if (*n == SX_USER_SERVERS_MAX)
            return SIMPLEX_E_DB_DAMAGED;
    }
}

static simplex_rc read_servers(struct simplex_agent *a, int64_t user, struct sx_server_list *l)
{
    struct sx_server_row r = { 0 };
    size_t n;
    simplex_rc rc = count_servers(a, user, &n);

    if (rc != SIMPLEX_OK || n == 0)
        return rc;
    l->v = sx_calloc(n, sizeof *l->v);
    if (l->v == NULL)
        return SIMPLEX_E_NOMEM;
    while (rc == SIMPLEX_OK && l->n < n) {
        rc = sx_store_user_server_next(a->store, user, r.position, &r);
        if (rc == SIMPLEX_OK)
            rc = read_server(&r, &l->v[l->n++]);
    }
    return rc;
}

static simplex_rc read_user(struct simplex_agent *a, int64_t after, struct sx_user **out)
{
    struct sx_user *u = sx_calloc(1, sizeof *u);
    simplex_rc rc;

    *out = NULL;
    if (u == NULL)
        return SIMPLEX_E_NOMEM;
    rc = sx_store_user_next(a->store, after, &u->row);
    if (rc == SIMPLEX_OK && u->row.own_servers)
        rc = read_servers(a, u->row.id, &u->own);
    if (rc == SIMPLEX_OK)
        *out = u;
    else
        user_free(u);
    return rc;
}

simplex_rc sx_users_load(struct simplex_agent *a)
{
    struct sx_user *all = NULL, **end = &all, *u;
    int64_t last = 0;
    simplex_rc rc;

    while ((rc = read_user(a, last, &u)) == SIMPLEX_OK) {
        last = u->row.id;
        *end = u;
        end = &u->next;
    }
    if (rc == SIMPLEX_E_NOT_FOUND)
        rc = all != NULL && all->row.id == SX_USER_DEFAULT ? SIMPLEX_OK : SIMPLEX_E_DB_DAMAGED;
    if (rc == SIMPLEX_OK) {
        u = a->users;
        a->users = all;
        all = u;
    }
    free_all(all);
    return rc;
}

/* ---- looking ---- */

struct sx_user *sx_user_find(struct simplex_agent *a, int64_t user)
{
    struct sx_user *u = a->users;

    while (u != NULL && u->row.id != user)
        u = u->next;
    return u;
}

simplex_rc sx_user_check(struct simplex_agent *a, int64_t user)
{
    const struct sx_user *u = sx_user_find(a, user);

    return u != NULL && !u->row.deleted ? SIMPLEX_OK : SIMPLEX_E_NOT_FOUND;
}

simplex_rc sx_user_of(struct simplex_agent *a, int64_t conn, int64_t *user)
{
    *user = SX_USER_DEFAULT;
    /* nothing has to be looked up for most applications, which have one user */
    if (conn == 0 || a->users == NULL || a->users->next == NULL)
        return SIMPLEX_OK;
    return sx_store_conn_user(a->store, conn, user);
}

const struct sx_server_list *sx_user_servers(struct simplex_agent *a, int64_t user)
{
    static const struct sx_server_list none = { 0 };
    const struct sx_user *u = sx_user_find(a, user);

    if (u == NULL)
        return &none;
    return u->row.own_servers ? &u->own : &a->servers;
}

/* ---- a list that became another one ---- */

static simplex_rc hash_list(const struct sx_server_list *l, uint8_t hash[32])
{
    struct sx_wr w;
    simplex_rc rc = SIMPLEX_OK;

    sx_wr_init(&w, SX_USER_SERVERS_MAX * 8192);
    for (size_t i = 0; i < l->n; i++) {
        const struct sx_user_server *s = &l->v[i];
        sx_server_print(&w, &s->server,
                        s->password != NULL ? sx_str(s->password) : sx_bytes(NULL, 0));
        sx_wr_u8(&w, 0);
        sx_wr_i64(&w, s->operator_id);
        sx_wr_u8(&w, s->flags);
    }
    if (w.bad)
        rc = SIMPLEX_E_NOMEM;
    else
        sx_sha256(sx_wr_bytes(&w), hash);
    sx_wr_free(&w); /* passwords: wiped */
    return rc;
}

simplex_rc sx_user_note_list(struct sx_user_row *row, const struct sx_server_list *l)
{
    uint8_t hash[32];
    simplex_rc rc = hash_list(l, hash);

    if (rc != SIMPLEX_OK || (row->has_hash && memcmp(hash, row->servers_hash, sizeof hash) == 0))
        return rc;
    memcpy(row->servers_hash, hash, sizeof hash);
    row->has_hash = true;
    row->servers_version++;
    row->servers_changed_at = sx_now_ms();
    return SIMPLEX_OK;
}

simplex_rc sx_users_opened(struct simplex_agent *a)
{
    simplex_rc rc = SIMPLEX_OK;

    for (struct sx_user *u = a->users; rc == SIMPLEX_OK && u != NULL; u = u->next) {
        int64_t version = u->row.servers_version;
        if (u->row.own_servers)
            continue;
        rc = sx_user_note_list(&u->row, &a->servers);
        if (rc == SIMPLEX_OK && u->row.servers_version != version)
            rc = sx_store_user_update(a->store, &u->row);
    }
    /* an agent on a full disk can still receive: it is noticed at the next start */
    return rc == SIMPLEX_E_DB_FULL || rc == SIMPLEX_E_DB_IO ? SIMPLEX_OK : rc;
}
