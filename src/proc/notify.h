/*
 * Telling systemd about our state, where it has started us; nothing otherwise.
 */
#ifndef PROC_NOTIFY_H
#define PROC_NOTIFY_H

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

#endif
