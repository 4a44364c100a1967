/* SPDX-License-Identifier: MIT */
#ifndef COMMON_IO_WAKE_H
#define COMMON_IO_WAKE_H

/*
 * The poller's wake socket: a unix datagram socket that systemd holds. What
 * is in it says nothing but "look at the queue".
 */

/**
 * Wake the poller. Call it after the commit. Never blocks and never fails:
 * a full socket has been woken already, and without a socket the timer comes
 * round soon.
 *
 * @path  WAKE_SOCKET, or NULL for nobody
 */
void wake_send(const char *path);

/**
 * Empty the socket, before each look at the queue and never after the last
 * one: systemd starts the poller again for a datagram that is left there.
 *
 * @fd  the socket systemd passed; may be blocking
 *
 * @return how many datagrams there were, or -errno
 */
int wake_drain(int fd);

#endif
