/*
 * How many logins of one user from one address are open: max_connections_per_user.
 */
#ifndef AUTH_AUTH_COUNT_H
#define AUTH_AUTH_COUNT_H

struct counts;
struct count; /* of one user and address */

struct counts *counts_new(void);
void counts_free(struct counts **c);
/* One more, unless there are max already (0 = no limit): then NULL. */
struct count *count_take(struct counts *c, const char *user, const char *address, unsigned max);
/* One less; *count is NULL afterwards. */
void count_drop(struct counts *c, struct count **count);

#endif
