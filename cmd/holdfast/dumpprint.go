package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// printStructure prints a structure as JSON, or as lines of "field: value"; hex dumps come last as they are.
func printStructure(w io.Writer, v any, asJSON bool) error {
	p, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if asJSON {
		_, err = fmt.Fprintf(w, "%s\n", p)
		return err
	}
	return printFields(w, json.NewDecoder(strings.NewReader(string(p))), "")
}

// printFields renders JSON as text without losing the order of fields.
func printFields(w io.Writer, d *json.Decoder, key string) error {
	d.UseNumber()
	tok, err := d.Token()
	if err != nil {
		return err
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '[' {
			for i := 0; d.More(); i++ {
				if err := printFields(w, d, path.Join(key, strconv.Itoa(i))); err != nil {
					return err
				}
			}
		} else {
			for d.More() {
				name, err := d.Token()
				if err != nil {
					return err
				}
				if err := printFields(w, d, path.Join(key, fmt.Sprint(name))); err != nil {
					return err
				}
			}
			if key != "" {
				fmt.Fprintln(w)
			}
		}
		_, err = d.Token()
		return err
	case nil:
		return nil
	default:
		text := fmt.Sprint(t)
		if strings.Contains(text, "\n") {
			_, err = fmt.Fprintf(w, "%s\n", text)
			return err
		}
		_, err = fmt.Fprintf(w, "%-22s %s\n", key+":", text)
		return err
	}
}
