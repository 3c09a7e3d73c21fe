// A Varlink client for cgtrace that needs only the standard library.
//
//	go run cgtrace.go exists PATH        exit code 0 if it exists, 1 if not
//	go run cgtrace.go wait PATH SECONDS  exit code 0 as soon as it exists, 1 after the timeout
//	go run cgtrace.go watch PATTERN N    prints the next N events, one JSON object per line
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
)

// A Client is a connection. It supports one call at a time.
type Client struct {
	conn  net.Conn
	input *bufio.Reader
}

// dial connects to CGTRACE_SOCKET if set, else to the private socket if this user may open it, else to the
// public one.
func dial() (net.Conn, error) {
	if path := os.Getenv("CGTRACE_SOCKET"); path != "" {
		return net.Dial("unix", path)
	}
	directory := os.Getenv("CGTRACE_RUNTIME_DIR")
	if directory == "" {
		directory = "/run/cgtrace"
	}
	conn, err := net.Dial("unix", directory+"/private/io.cgtrace")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return net.Dial("unix", directory+"/public/io.cgtrace")
	}
	return conn, err
}

func connect() (*Client, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	return &Client{conn, bufio.NewReader(conn)}, nil
}

// take receives the parameters of a reply, and returns whether to read another.
type take func(json.RawMessage) (bool, error)

// call calls a method, and passes the parameters of each reply to take.
func (c *Client) call(method string, more bool, parameters any, take take) error {
	call := map[string]any{"method": "io.cgtrace." + method, "parameters": parameters, "more": more}
	message, err := json.Marshal(call)
	if err != nil {
		return err
	}
	if _, err := c.conn.Write(append(message, 0)); err != nil {
		return err
	}
	for {
		message, err := c.input.ReadBytes(0)
		if err != nil {
			return err
		}
		// Ids can exceed 2^53: decode them into uint64, as here, never into float64.
		var reply struct {
			Parameters json.RawMessage
			Error      string
			Continues  bool
		}
		if err := json.Unmarshal(bytes.TrimSuffix(message, []byte{0}), &reply); err != nil {
			return err
		}
		if reply.Error != "" {
			return fmt.Errorf("%s: %s", reply.Error, reply.Parameters)
		}
		if another, err := take(reply.Parameters); err != nil || !another || !reply.Continues {
			return err
		}
	}
}

type pathResult struct {
	Present     bool
	Hierarchies []struct {
		Hierarchy string
		Present   bool
		Current   *struct{ ID uint64 }
	}
}

func run(arguments []string) (int, error) {
	client, err := connect()
	if err != nil {
		return 3, err
	}
	no := func(yes bool) int {
		if yes {
			return 0
		}
		return 1
	}
	switch {
	case len(arguments) == 2 && arguments[0] == "exists":
		var found struct{ Results []pathResult }
		lookup := map[string]any{"paths": arguments[1:]}
		err := client.call("Lookup", false, lookup, func(message json.RawMessage) (bool, error) {
			return false, json.Unmarshal(message, &found)
		})
		if err != nil || len(found.Results) != 1 {
			return 3, err
		}
		for _, on := range found.Results[0].Hierarchies {
			if on.Current != nil {
				fmt.Println(on.Hierarchy, "present", on.Current.ID)
			} else {
				fmt.Println(on.Hierarchy, "absent")
			}
		}
		return no(found.Results[0].Present), nil
	case len(arguments) == 3 && arguments[0] == "wait":
		seconds, err := strconv.ParseFloat(arguments[2], 64)
		if err != nil {
			return 2, err
		}
		var reply struct{ Reached bool }
		wait := map[string]any{"path": arguments[1], "state": "present", "timeout_ms": int64(seconds * 1000)}
		err = client.call("Wait", false, wait, func(message json.RawMessage) (bool, error) {
			return false, json.Unmarshal(message, &reply)
		})
		if err != nil {
			return 3, err
		}
		return no(reply.Reached), nil
	case len(arguments) == 3 && arguments[0] == "watch":
		left, err := strconv.Atoi(arguments[2])
		if err != nil {
			return 2, err
		}
		watch := map[string]any{"patterns": arguments[1:2]}
		err = client.call("Watch", true, watch, func(message json.RawMessage) (bool, error) {
			var reply struct {
				Seq     *uint64
				Dropped *uint64
				Gap     *struct{ Reason string }
				Event   json.RawMessage
			}
			if err := json.Unmarshal(message, &reply); err != nil {
				return false, err
			}
			if reply.Dropped != nil {
				fmt.Fprintln(os.Stderr, *reply.Dropped, "events dropped")
			}
			if reply.Gap != nil {
				fmt.Fprintln(os.Stderr, "events are missing:", reply.Gap.Reason)
			}
			if reply.Seq != nil {
				fmt.Fprintln(os.Stderr, "every event after", *reply.Seq)
			}
			if reply.Event != nil {
				fmt.Println(string(reply.Event))
				left--
			}
			return left > 0, nil
		})
		if err != nil {
			return 3, err
		}
		return 0, nil
	}
	return 2, fmt.Errorf("usage: exists PATH | wait NAME SECONDS | watch PATTERN N")
}

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
