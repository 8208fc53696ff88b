/* SPDX-License-Identifier: Apache-2.0 */
#include "support/vec.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/secrets.h"

#define PART 6  /* bytes: nobody meets them by chance, and a shortened id is still one */
#define FORM 64 /* longest text of a form */

struct secret {
    const char *label;
    bool word;
    uint8_t len;
    char text[FORM]; /* the word, or the first bytes */
};

static struct secret *grow(struct secrets *s, const char *label)
{
    struct secret *list = realloc(s->list, (s->n + 1) * sizeof(*list));

    assert_non_null(list);
    s->list = list;
    memset(&list[s->n], 0, sizeof(*list));
    list[s->n].label = label;
    return &list[s->n++];
}

void secrets_add(struct secrets *s, const char *label, simplex_bytes id)
{
    if (id.len < PART)
        return;
    for (size_t i = 0; i < s->n; i++) { /* the same id stands in many commands */
        if (!s->list[i].word && memcmp(s->list[i].text, id.ptr, PART) == 0)
            return;
    }
    struct secret *new_ = grow(s, label);
    new_->len = PART;
    memcpy(new_->text, id.ptr, PART);
}

void secrets_key(struct secrets *s, const char *label, const struct sx_pub *key)
{
    /* the prefix of the DER is a multiple of three bytes: base64 of both is the same */
    secrets_add(s, label, sx_bytes(key->b, sx_key_len((enum sx_alg)key->alg)));
}

void secrets_word(struct secrets *s, const char *label, const char *word)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->list[i].word && strcmp(s->list[i].text, word) == 0)
            return;
    }
    struct secret *new_ = grow(s, label);
    assert_true(strlen(word) > 0 && strlen(word) < FORM);
    new_->word = true;
    new_->len = (uint8_t)strlen(word);
    memcpy(new_->text, word, new_->len);
}

void secrets_free(struct secrets *s)
{
    free(s->list);
    memset(s, 0, sizeof(*s));
}

/* Where it begins, or NULL. */
static const uint8_t *find(simplex_bytes text, const char *what, size_t len, bool word)
{
    for (size_t i = 0; i + len <= text.len; i++) {
        const uint8_t *at = text.ptr + i;
        if (memcmp(at, what, len) != 0)
            continue;
        if (!word || ((i == 0 || !isalnum(at[-1])) && (i + len == text.len || !isalnum(at[len]))))
            return at;
    }
    return NULL;
}

/* The line that has it goes to why. */
static bool has_form(const struct secret *secret, simplex_bytes text, const char *form, size_t len,
                     char *why, size_t size)
{
    const uint8_t *at = find(text, form, len, secret->word);

    if (at == NULL)
        return false;
    const uint8_t *from = at, *end = text.ptr + text.len;
    while (from > text.ptr && from[-1] != '\n')
        from--;
    while (at < end && *at != '\n')
        at++;
    snprintf(why, size, "%s: %.*s", secret->label, (int)(at - from), (const char *)from);
    return true;
}

static bool has_bytes(const struct secret *secret, simplex_bytes text, char *why, size_t size)
{
    static const char *const digits[] = { "0123456789abcdef", "0123456789ABCDEF" };
    simplex_bytes id = sx_bytes(secret->text, PART);
    uint8_t room[4][FORM];
    struct sx_wr form[4];

    for (size_t i = 0; i < SX_COUNT(form); i++)
        sx_wr_fixed(&form[i], room[i], FORM);
    for (size_t i = 0; i < SX_COUNT(digits); i++) {
        for (size_t k = 0; k < PART; k++) {
            sx_wr_u8(&form[i], (uint8_t)digits[i][id.ptr[k] >> 4]);
            sx_wr_u8(&form[i], (uint8_t)digits[i][id.ptr[k] & 15]);
        }
    }
    sx_b64url_encode(&form[2], id);
    sx_b64_encode(&form[3], id);
    for (size_t i = 0; i < SX_COUNT(form); i++) {
        if (has_form(secret, text, (const char *)form[i].p, form[i].len, why, size))
            return true;
    }
    return has_form(secret, text, secret->text, PART, why, size);
}

bool secrets_find(const struct secrets *s, simplex_bytes text, char *why, size_t size)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct secret *secret = &s->list[i];
        if (secret->word ? has_form(secret, text, secret->text, secret->len, why, size)
                         : has_bytes(secret, text, why, size))
            return true;
    }
    return false;
}
