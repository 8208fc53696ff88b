/* SPDX-License-Identifier: Apache-2.0 */
/* Where an smp-server that a test starts has its files. One at a time. */
#ifndef TESTS_SERVER_DIRS_H
#define TESTS_SERVER_DIRS_H

/* Both are below base; neither is made yet. */
extern char base[64], config_dir[96], state_dir[96];

/* For cmocka, before and after each test. */
int make_dirs(void **state);
int remove_dirs(void **state);

/* The arguments, and where the files are. Valid until the next call. */
const char *const *with_dirs(const char *const *args);
#define ARG(...) with_dirs((const char *const[]){ __VA_ARGS__, NULL })

#endif
