/*
 * The files of Berkeley DB's log, for recovery.
 */
#ifndef STORE_INDEX_LOGS_H
#define STORE_INDEX_LOGS_H

/*
 * Syncs all logs in `dir`, and their names. Recovery brings in what they say without asking
 * whether they are on the disk. What a killed process committed needn't be, and pages must not
 * get there first. 0 or -1 with errno.
 */
int logs_sync(const char *dir);

#endif
