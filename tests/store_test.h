/*
 * What the tests of the store share: a real temporary Maildir, an account on it, messages put
 * there as another program would, and one-line questions about a view.
 */
#ifndef TESTS_STORE_TEST_H
#define TESTS_STORE_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "store/check.h"
#include "store/folders.h"
#include "store/mailbox.h"
#include "store/view.h"

/* The Maildir's path; the directory above it is removed by store_clean(). */
extern char store_dir[256];

void store_setup(void);    /* makes the temporary directory, with an empty INBOX */
void store_teardown(void); /* removes it */
/* An unchecked fixture, thus in the parent process: what valgrind has translated there, the
   tests' own processes needn't. A third of their time. */
void store_warm_up(void);
struct conf *store_conf(void);

struct account *store_open(void);

/* Writes a file into DIR/part/NAME ("cur", "new"), as a neighbour does. */
void neighbour_put(const char *dir, const char *part, const char *name, const char *text);
/* New mail: tmp/ and rename into new/. Returns the name (static). */
const char *neighbour_deliver(const char *dir, const char *text);
void neighbour_rename(const char *dir, const char *from, const char *to);
void neighbour_remove(const char *dir, const char *name);
/* How many files lie in DIR/part. */
int files_in(const char *dir, const char *part);
/* The only file whose name begins so, in DIR/cur. */
const char *name_in_cur(const char *dir, const char *prefix);
/* Waits until directory times are older than a second. */
void settle(void);

/* Appends text (CRLF or LF) with flags and keywords (NULL-terminated, may be NULL). The UID. */
uint32_t store_append(struct account *a, const char *folder, const char *text, unsigned flags,
                      const char *const *keywords);
struct source *text_source(const char *text, size_t len);

/* The whole message, as on the wire, malloc. NULL if gone. */
char *message_text(struct view *v, uint32_t uid, size_t *len);
struct index_message message_row(struct view *v, uint32_t uid);
/* view_sync(v, true), and forgets what it said. */
void sync_quietly(struct view *v);
/* "exists recent unseen-flags": the view as a string of UIDs and letters, "1S 2 3FT". */
const char *view_text(struct view *v);
struct seqset uid_set(const char *text);
/* STORE of one UID; the result. */
int store_flags(struct view *v, const char *uids, enum store_op op, unsigned flags);

#endif
