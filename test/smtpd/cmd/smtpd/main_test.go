// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// driver is what stands on the other side of the program's pipes.
type driver struct {
	t   *testing.T
	in  *io.PipeWriter
	out *json.Decoder
	end chan error
}

func drive(t *testing.T, script, ca, store string, keep bool) *driver {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	t.Cleanup(func() { inW.Close(); outR.Close() })
	d := &driver{t: t, in: inW, out: json.NewDecoder(bufio.NewReader(outR)), end: make(chan error, 1)}
	p := &program{out: json.NewEncoder(outW)}
	go func() { d.end <- p.run(inR, script, ca, store, time.Minute, keep) }()
	return d
}

func (d *driver) write(line string) {
	d.t.Helper()
	if _, err := io.WriteString(d.in, line+"\n"); err != nil {
		d.t.Fatal(err)
	}
}

// until reads events up to the next of that kind.
func (d *driver) until(kind string) map[string]any {
	d.t.Helper()
	for {
		var e map[string]any
		if err := d.out.Decode(&e); err != nil {
			d.t.Fatalf("waiting for %q: %v", kind, err)
		}
		if e["event"] == kind {
			return e
		}
	}
}

func TestStory(t *testing.T) {
	dir := t.TempDir()
	d := drive(t, "-", filepath.Join(dir, "ca"), filepath.Join(dir, "mail"), false)
	d.write(`{"ehlo":["X"],"listen":[{"name":"smtp","closed":true}]}`)
	address := d.until("listen")["address"].(string)
	if _, err := os.Stat(d.until("ready")["ca"].(string)); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("a closed port answered")
	}
	d.write(`{"listen":[{"name":"other"}]}`)
	d.until("error")
	d.write(`{"ehlo":["X"],"listen":[{"name":"smtp"}]}`)
	d.until("script")

	sent := make(chan error, 1)
	go func() {
		sent <- smtp.SendMail(address, nil, "a@b", []string{"c@d"}, []byte("Subject: x\r\n\r\ny\r\n"))
	}()
	m := d.until("message")["message"].(map[string]any)
	d.until("end")
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(m["file"].(string))
	if err != nil || string(data) != "Subject: x\r\n\r\ny\r\n" || m["accepted"] != true {
		t.Errorf("%+v holds %q, %v", m, data, err)
	}
	d.write("quit")
	if err := <-d.end; err != nil {
		t.Error(err)
	}
}

func TestEndOfInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "script.json")
	if err := os.WriteFile(file, []byte("{\n  \"host\": \"x.test\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := drive(t, file, "", "", false)
	d.until("ready")
	d.in.Close()
	if err := <-d.end; err != nil {
		t.Error(err)
	}
}

func TestScriptAsArgument(t *testing.T) {
	d := drive(t, `{"listen":[{"name":"tls","tls":true}]}`, "", "", false)
	if e := d.until("listen"); e["name"] != "tls" || e["tls"] != true {
		t.Errorf("listening on %v", e)
	}
	d.until("ready")
	d.write("quit")
	if err := <-d.end; err != nil {
		t.Error(err)
	}
}

func TestBadScript(t *testing.T) {
	d := drive(t, "-", "", "", true)
	d.write(`{"lisen":[]}`)
	if err := <-d.end; err == nil {
		t.Error("a bad script started")
	}
}
