// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	emacs "github.com/sigma/go-emacs"
	_ "github.com/sigma/go-emacs/gpl-compatible"

	"submission/module/internal/event"
	"submission/module/internal/job"
	"submission/module/internal/outbox"
)

// version is set at build time from the header of submission.el; Lisp refuses
// a module of another version.
var version = "unknown"

func main() {} // never runs: Emacs calls what init registers

func init() {
	emacs.Register(func(env emacs.Environment) {
		settle()
		if err := checkEmacs(env); err != nil {
			signalAtLoad(env, err)
			return
		}
		m := &module{offices: make(map[string]*job.Dispatcher)}
		m.define(env)
		env.ProvideFeature("submission-module")
	})
}

// module is what the functions of Lisp work on. Emacs calls them one at a
// time, on one thread.
type module struct {
	offices map[string]*job.Dispatcher // by outbox directory
}

func (m *module) define(env emacs.Environment) {
	define(env, "submission-module-version", 0,
		"Return the version of the module, a string.\n\n(fn)",
		func(ctx emacs.FunctionCallContext) (emacs.Value, error) {
			return ctx.Environment().String(version), nil
		})
	define(env, "submission-module-protect", 0,
		"Make signal handlers run on stacks of their own, as Go needs it.\nCall it after something has installed a signal handler.  Return nil.\n\n(fn)",
		func(emacs.FunctionCallContext) (emacs.Value, error) {
			return nil, nil // every function does so when it is called
		})
	define(env, "submission-module-open", 2,
		"Open an outbox and send its events to PROCESS, a pipe process.\nJSON has \"directory\" and \"memory\", absolute file names, and \"interactive\".\nWith \"transient\", nothing in it is sent but what is submitted now.\nReturn nil.\n\n(fn PROCESS JSON)",
		m.open)
	defineJSON(env, "submission-module-submit",
		"Take a message into its outbox and start to send it.\nJSON has \"file\", \"envelope\", \"settings\" and \"secret\", and maybe\n\"not-before\" and \"draft\".  Return its id.\n\n(fn JSON)",
		m.submit)
	defineJSON(env, "submission-module-answer",
		"Answer the question number \"ask\" with \"secret\" or \"tunnel\".\nReturn nil.\n\n(fn JSON)",
		m.answer)
	defineJSON(env, "submission-module-settle",
		"Let the message \"id\" of the outbox \"directory\" go if it was accepted or cancelled,\nwith a line in the file \"log\" unless that is empty.  Return nil.\n\n(fn JSON)",
		m.settle)
	defineJSON(env, "submission-module-act",
		"Do \"action\" with the message \"id\" of the outbox \"directory\".\nThe actions are cancel, hold, send and arrived, settings, which gives it\nother \"settings\", and accept, which sends it to who shows the certificate\nwith the fingerprint \"pin\".  Return nil; an error says why nothing could be done.\n\n(fn JSON)",
		m.act)
	defineJSON(env, "submission-module-remember",
		"Remember \"lesson\", which an event of the outbox \"directory\" has brought.\nReturn nil.\n\n(fn JSON)",
		m.remember)
	defineJSON(env, "submission-module-forget",
		"Forget all lessons, for the outbox \"directory\".\nReturn nil.\n\n(fn JSON)",
		m.forget)
	defineJSON(env, "submission-module-send-all",
		"Try now what waits in the outbox \"directory\".\nReturn the ids of what was taken, a JSON array, or nil if that\ntakes some time; then an event tells the ids.\n\n(fn JSON)",
		m.sendAll)
	defineJSON(env, "submission-module-take-over",
		"Do what submission-module-send-all does, in the background.\nThe messages whose ids are in \"skip\" are left alone.  An event tells the ids.  Return nil.\n\n(fn JSON)",
		m.takeOver)
	defineDiagnose(env)
}

// defineJSON defines a function of one string of JSON. It returns a string,
// or nil for "".
func defineJSON(env emacs.Environment, name, doc string, f func(arg []byte) (string, error)) {
	define(env, name, 1, doc, func(ctx emacs.FunctionCallContext) (emacs.Value, error) {
		arg, err := ctx.GoStringArg(0)
		if err != nil {
			return nil, fmt.Errorf("%s takes a string", name)
		}
		result, err := f([]byte(arg))
		if err != nil || result == "" {
			return nil, err
		}
		return ctx.Environment().String(plain(result)), nil
	})
}

func (m *module) open(ctx emacs.FunctionCallContext) (emacs.Value, error) {
	text, err := ctx.GoStringArg(1)
	if err != nil {
		return nil, errors.New("submission-module-open takes a process and a string")
	}
	var arg struct {
		Directory   string `json:"directory"`
		Memory      string `json:"memory"`
		Interactive bool   `json:"interactive"`
		Transient   bool   `json:"transient"`
	}
	if err := json.Unmarshal([]byte(text), &arg); err != nil {
		return nil, err
	}
	channel, err := openChannel(ctx.Environment(), ctx.Arg(0))
	if err != nil {
		return nil, err
	}
	events := event.NewStream(channel)
	if office, ok := m.offices[arg.Directory]; ok {
		office.Attach(events)
		return nil, nil
	}
	open := job.NewDispatcher
	if arg.Transient {
		open = job.NewTransient
	}
	office, err := open(arg.Directory, arg.Memory, arg.Interactive, events)
	if err != nil {
		events.Close()
		return nil, asLisp(err)
	}
	m.offices[arg.Directory] = office
	return nil, nil
}

// office returns the dispatcher of an outbox directory.
func (m *module) office(dir string) (*job.Dispatcher, error) {
	if d, ok := m.offices[dir]; ok {
		return d, nil
	}
	return nil, fmt.Errorf("the outbox %s is not open", dir)
}

func (m *module) submit(arg []byte) (string, error) {
	var r struct {
		Directory string `json:"directory"`
		job.Request
	}
	if err := json.Unmarshal(arg, &r); err != nil {
		return "", err
	}
	office, err := m.office(r.Directory)
	if err != nil {
		return "", err
	}
	id, err := office.Submit(r.Request)
	return id, asLisp(err)
}

func (m *module) answer(arg []byte) (string, error) {
	var a struct {
		Directory string `json:"directory"`
		Ask       int    `json:"ask"`
		job.Answer
	}
	if err := json.Unmarshal(arg, &a); err != nil {
		return "", err
	}
	office, err := m.office(a.Directory)
	if err != nil {
		return "", err
	}
	office.Answer(a.Ask, &a.Answer)
	return "", nil
}

// message is the argument of functions on one message or on the outbox.
type message struct {
	Directory string `json:"directory"`
	ID        string `json:"id"`
}

func (m *module) message(arg []byte) (*job.Dispatcher, string, error) {
	var a message
	if err := json.Unmarshal(arg, &a); err != nil {
		return nil, "", err
	}
	office, err := m.office(a.Directory)
	return office, a.ID, err
}

func (m *module) settle(arg []byte) (string, error) {
	var a struct {
		message
		Log string `json:"log"`
	}
	if err := json.Unmarshal(arg, &a); err != nil {
		return "", err
	}
	office, err := m.office(a.Directory)
	if err != nil {
		return "", err
	}
	return "", asLisp(office.Settle(a.ID, a.Log))
}

func (m *module) act(arg []byte) (string, error) {
	var a struct {
		message
		Action   job.Action      `json:"action"`
		Settings json.RawMessage `json:"settings"`
		Pin      string          `json:"pin"`
	}
	if err := json.Unmarshal(arg, &a); err != nil {
		return "", err
	}
	office, err := m.office(a.Directory)
	if err != nil {
		return "", err
	}
	switch a.Action {
	case "settings":
		return "", asLisp(office.Change(a.ID, a.Settings))
	case "accept":
		return "", asLisp(office.Accept(a.ID, a.Pin))
	}
	return "", asLisp(office.Act(a.ID, a.Action))
}

func (m *module) sendAll(arg []byte) (string, error) {
	office, _, err := m.message(arg)
	if err != nil {
		return "", err
	}
	ids, all := office.SendAll()
	if !all {
		return "", nil
	}
	text, err := json.Marshal(append([]string{}, ids...))
	return string(text), err
}

func (m *module) takeOver(arg []byte) (string, error) {
	var a struct {
		message
		Skip []string `json:"skip"`
	}
	if err := json.Unmarshal(arg, &a); err != nil {
		return "", err
	}
	office, err := m.office(a.Directory)
	if err == nil {
		office.TakeOver(a.Skip)
	}
	return "", err
}

func (m *module) remember(arg []byte) (string, error) {
	var a struct {
		Directory string     `json:"directory"`
		Lesson    job.Lesson `json:"lesson"`
	}
	if err := json.Unmarshal(arg, &a); err != nil {
		return "", err
	}
	office, err := m.office(a.Directory)
	if err != nil {
		return "", err
	}
	return "", office.Remember(a.Lesson)
}

func (m *module) forget(arg []byte) (string, error) {
	office, _, err := m.message(arg)
	if err != nil {
		return "", err
	}
	return "", office.ForgetFallbacks()
}

// asLisp gives an error of the outbox its symbol.
func asLisp(err error) error {
	if e := (*outbox.Error)(nil); errors.As(err, &e) {
		return &lispError{"submission-outbox-error", err}
	}
	return err
}

// plain returns s as Emacs takes it: valid UTF-8, or make_string signals.
func plain(s string) string {
	return strings.ToValidUTF8(s, string(utf8.RuneError))
}
