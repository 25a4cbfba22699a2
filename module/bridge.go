// SPDX-License-Identifier: GPL-3.0-or-later

package main

/*
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/select.h>

// The head of struct emacs_env as Emacs 28 has it: a size, a private pointer,
// 35 functions that go-emacs knows or that we don't need, then open_channel.
// Emacs only ever appends to this structure.
struct env {
	ptrdiff_t size;
	void *private_members;
	void (*known[35])(void);
	int (*open_channel)(struct env *, void *pipe_process);
};

static int can_open_channel(struct env *e) {
	return e->size >= (ptrdiff_t) sizeof(struct env);
}

static void signal_error(struct env *e, void *symbol, void *data) {
	((void (*)(struct env *, void *, void *)) e->known[5])(e, symbol, data);
}

static int open_channel(struct env *e, void *pipe_process) {
	return e->open_channel(e, pipe_process);
}

// Goroutines run on small stacks. A handler that was installed without
// SA_ONSTACK, as that of Emacs's profiler is, would write over them, so give
// the flag to every handler that lacks it.
static void use_signal_stacks(void) {
	for (int s = 1; s < NSIG; s++) {
		struct sigaction a;
		if (sigaction(s, NULL, &a) != 0 || a.sa_flags & SA_ONSTACK)
			continue;
		if (a.sa_handler == SIG_DFL || a.sa_handler == SIG_IGN)
			continue;
		a.sa_flags |= SA_ONSTACK;
		sigaction(s, &a, NULL);
	}
}

// Emacs keeps its descriptors below what select can take; Go's start-up lifts
// that limit for the whole process. Put it back.
static void limit_descriptors(void) {
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur > FD_SETSIZE) {
		l.rlim_cur = FD_SETSIZE;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"syscall"
	"unsafe"

	emacs "github.com/sigma/go-emacs"
)

// errNotAChannel is returned where Emacs has already signalled its own error.
var errNotAChannel = errors.New("not a pipe process")

// lispError is an error with the symbol that Lisp is to see it by.
type lispError struct {
	symbol string // a child of submission-error
	err    error
}

func (e *lispError) Error() string { return e.err.Error() }
func (e *lispError) Unwrap() error { return e.err }

// pointer reads the C pointer that go-emacs keeps in an unexported field.
func pointer(v any, field string) (unsafe.Pointer, error) {
	r := reflect.ValueOf(v)
	if r.Kind() == reflect.Pointer {
		r = r.Elem()
	}
	if r.Kind() == reflect.Struct {
		if f := r.FieldByName(field); f.IsValid() && f.Kind() == reflect.Pointer {
			return f.UnsafePointer(), nil
		}
	}
	return nil, fmt.Errorf("go-emacs has changed: no pointer %q in %T", field, v)
}

// checkEmacs returns an error unless the Emacs of env is 28.1 or later.
func checkEmacs(env emacs.Environment) error {
	p, err := pointer(env, "env")
	if err != nil {
		return err
	}
	if C.can_open_channel((*C.struct_env)(p)) == 0 {
		return errors.New("this module needs Emacs 28.1 or later")
	}
	return nil
}

// settle puts right what Go's start-up has changed in the process.
func settle() {
	C.limit_descriptors()
	C.use_signal_stacks()
}

// openChannel returns the writing end of a pipe process. It is non-blocking,
// closed in children, and the caller's to close. Its error is errNotAChannel
// where Emacs has signalled one itself.
func openChannel(env emacs.Environment, process emacs.Value) (*os.File, error) {
	e, err := pointer(env, "env")
	if err != nil {
		return nil, err
	}
	v, err := pointer(process, "val")
	if err != nil {
		return nil, err
	}
	fd := int(C.open_channel((*C.struct_env)(e), v))
	if fd < 0 {
		return nil, errNotAChannel
	}
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "event channel"), nil
}

// define makes a Lisp function of f. What f panics with or returns as an error
// is signalled: with the symbol of a lispError, else as
// submission-module-error.
func define(env emacs.Environment, name string, arity int, doc string, f func(emacs.FunctionCallContext) (emacs.Value, error)) {
	env.RegisterFunction(name, func(ctx emacs.FunctionCallContext) (result emacs.Value, err error) {
		defer func() {
			if r := recover(); r != nil {
				result, err = signal(ctx.Environment(), fmt.Errorf("a fault in %s: %v\n%s", name, r, debug.Stack()))
			}
		}()
		C.use_signal_stacks()
		result, err = f(ctx)
		if errors.Is(err, errNotAChannel) {
			return nil, nil // Emacs's own signal is pending
		}
		if err != nil {
			return signal(ctx.Environment(), err)
		}
		return result, nil
	}, arity, doc, nil)
}

// signal makes a Lisp signal of a Go error.
func signal(env emacs.Environment, err error) (emacs.Value, error) {
	symbol := "submission-module-error"
	if e := (*lispError)(nil); errors.As(err, &e) {
		symbol = e.symbol
	}
	lib := env.StdLib()
	return emacs.Signal(lib.Intern(symbol), lib.List(env.String(plain(err.Error()))))
}

// signalAtLoad makes module-load signal err: go-emacs signals only from within
// a function.
func signalAtLoad(env emacs.Environment, err error) {
	lib := env.StdLib()
	e, err1 := pointer(env, "env")
	symbol, err2 := pointer(lib.Intern("submission-module-error"), "val")
	data, err3 := pointer(lib.List(env.String(plain(err.Error()))), "val")
	if err1 == nil && err2 == nil && err3 == nil {
		C.signal_error((*C.struct_env)(e), symbol, data)
	}
}
