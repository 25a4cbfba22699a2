// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"

	emacs "github.com/sigma/go-emacs"

	"submission/module/internal/diagnose"
	"submission/module/internal/event"
)

// diagnoses are those that are under way. They have nothing to do with an
// outbox, so each has a channel of its own, which ends with it.
type diagnoses struct {
	last    int
	running sync.Map // by id, the context.CancelFunc
}

func defineDiagnose(env emacs.Environment) {
	d := new(diagnoses)
	define(env, "submission-module-diagnose", 2,
		"Diagnose servers and send what is found to PROCESS, a pipe process.\nJSON has \"lines\", \"ehlo-name\", \"trust-files\" and \"timeouts\".\nReturn an id.\n\n(fn PROCESS JSON)",
		d.start)
	defineJSON(env, "submission-module-diagnose-cancel",
		"Cancel the diagnosis \"id\", if it is under way.\nReturn nil.\n\n(fn JSON)",
		d.cancel)
}

func (d *diagnoses) start(ctx emacs.FunctionCallContext) (emacs.Value, error) {
	text, err := ctx.GoStringArg(1)
	if err != nil {
		return nil, errors.New("submission-module-diagnose takes a process and a string")
	}
	var spec diagnose.Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return nil, err
	}
	channel, err := openChannel(ctx.Environment(), ctx.Arg(0))
	if err != nil {
		return nil, err
	}
	events := event.NewStream(channel)
	d.last++
	id := strconv.Itoa(d.last)
	life, cancel := context.WithCancel(context.Background())
	d.running.Store(id, cancel)
	go func() {
		defer events.Close()
		defer d.running.Delete(id)
		defer cancel()
		diagnose.Run(life, id, spec, events)
	}()
	return ctx.Environment().String(id), nil
}

func (d *diagnoses) cancel(arg []byte) (string, error) {
	var a struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(arg, &a); err != nil {
		return "", err
	}
	if cancel, ok := d.running.Load(a.ID); ok {
		cancel.(context.CancelFunc)()
	}
	return "", nil
}
