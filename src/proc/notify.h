/*
 * Telling systemd about our state, where that is built in; nothing otherwise.
 */
#ifndef PROC_NOTIFY_H
#define PROC_NOTIFY_H

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

#endif
