/* Ask cgtrace from C: exactly when a cgroup exists, by whom it was made, and when it was gone.
 *
 * Link with -lcgtrace. Names are a cgroup's path from its hierarchy's root ("/system.slice/kubelet.service"), any
 * bytes but NUL. A hierarchy is named as /proc/PID/cgroup does: "v2", "memory", "name=systemd"; NULL means any.
 *
 * Errors: a function that returns an int returns a negative CGTRACE_E_… code, one that returns a pointer returns
 * NULL. cgtrace_error_code() and cgtrace_error_message() then tell more, on the same thread, until the next call
 * of this library there.
 *
 * Threads: a client or a watch may be used by any thread, but by one at a time. Different ones are independent.
 * The library keeps no other state, starts no thread, handles no signal and never aborts. Calls block; a signal
 * does not interrupt them. Descriptors are close-on-exec; after fork(2) the child must not use the parent's.
 *
 * Memory: a string that is given out through a char ** is the caller's, who frees it with cgtrace_free().
 */
#ifndef CGTRACE_H
#define CGTRACE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CGTRACE_E_ARGUMENT (-1)    /* an argument is NULL or has no such value */
#define CGTRACE_E_CONNECT (-2)     /* no daemon accepts the connection */
#define CGTRACE_E_CLOSED (-3)      /* the connection broke: close the client and connect again */
#define CGTRACE_E_PROTOCOL (-4)     /* the daemon said what this library does not understand */
#define CGTRACE_E_NAME (-5)        /* no cgroup can be called so; the message shows the right form */
#define CGTRACE_E_UNKNOWN (-6)     /* no such hierarchy, kind of event, state, or process; or no pattern */
#define CGTRACE_E_LIMIT (-7)       /* a bound of the daemon is reached */
#define CGTRACE_E_PERMISSION (-8)  /* this process may not ask that */
#define CGTRACE_E_UNAVAILABLE (-9) /* no exact answer can be given now: ask again */
#define CGTRACE_E_OTHER (-10)      /* an error that this library does not know */
#define CGTRACE_E_INTERNAL (-11)   /* a mistake in this library */

/* What to wait for. */
#define CGTRACE_PRESENT 0   /* the cgroup exists */
#define CGTRACE_ABSENT 1    /* it does not */
#define CGTRACE_POPULATED 2 /* a process is in it or below it */
#define CGTRACE_EMPTY 3     /* none is; a cgroup that does not exist is empty */

typedef struct cgtrace_client cgtrace_client;
typedef struct cgtrace_watch cgtrace_watch;

/* The version of this library; instances for ever. */
const char *cgtrace_version(void);

/* The code of the last call of this library on this thread; 0 if it succeeded. */
int cgtrace_error_code(void);

/* What went wrong in the last call on this thread and what to do; "" if nothing did. Lives until the next one. */
const char *cgtrace_error_message(void);

/* Frees a string that this library gave out; NULL is nothing to free. Leaves the error as it is. */
void cgtrace_free(char *string);

/* Connects to the daemon. NULL: to the socket $CGTRACE_SOCKET if it is set, else to private/io.cgtrace in
 * $CGTRACE_RUNTIME_DIR (default: /run/cgtrace) if this process may open it, else to public/io.cgtrace there, which
 * does not carry the identities of processes. */
cgtrace_client *cgtrace_connect(const char *socket);

/* Closes a connection; NULL is nothing to close. */
void cgtrace_close(cgtrace_client *client);

/* 1: the cgroup exists now; 0: it does not. */
int cgtrace_exists(cgtrace_client *client, const char *name, const char *hierarchy);

/* Waits until the cgroup is in that state (CGTRACE_PRESENT, …); returns the moment it is.
 * 1: it is; 0: timeout_ms are over. A negative timeout_ms waits for ever. */
int cgtrace_wait(cgtrace_client *client, const char *name, int until, const char *hierarchy, int64_t timeout_ms);

/* What is known of a name, as JSON: the type PathResult of io.cgtrace.varlink. 0 on success. */
int cgtrace_lookup_json(cgtrace_client *client, const char *name, const char *hierarchy, char **json);

/* Follows events from now on, over broken connections and restarts of the daemon. patterns and kinds end with a
 * NULL entry; NULL itself: all. A negative since_seq begins now, another one after the event of that number. The
 * socket is as for cgtrace_connect. */
cgtrace_watch *cgtrace_watch_start(const char *socket, const char *const *patterns, const char *const *kinds,
                                   const char *hierarchy, int64_t since_seq);

/* The next item as JSON, an object with one member:
 *   {"started":{"run":{"pid":…,"started":{…}},"seq":…}}   the first one: every event after seq comes
 *   {"event":{…}}                                         the type Event of io.cgtrace.varlink
 *   {"dropped":N}                                        events were dropped here
 *   {"resumed":{"seq":…}}                                 the connection broke, and was made again
 *   {"restarted":{"before":{…},"run":{…}}}                another daemon answers; what it does not tell is unknown
 * 1: there is one; 0: timeout_ms are over (negative: waits for ever). */
int cgtrace_watch_next_json(cgtrace_watch *watch, int64_t timeout_ms, char **json);

/* Ends following; NULL is nothing to end. */
void cgtrace_watch_stop(cgtrace_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
