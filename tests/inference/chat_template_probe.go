// Renders a Go template for each conversation, as Ollama does: template.go FILE, conversations as JSON on stdin, texts out.
// Like Ollama it first makes one message of several in a row with the same role (not of tools).
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func main() {
	source, err := os.ReadFile(os.Args[1])
	fail(err)
	parsed, err := template.New("").Option("missingkey=zero").Parse(string(source))
	fail(err)
	var conversations [][]*message
	fail(json.NewDecoder(os.Stdin).Decode(&conversations))
	texts := []string{}
	for _, messages := range conversations {
		var text strings.Builder
		fail(parsed.Execute(&text, map[string]any{"Messages": merged(messages), "Response": ""}))
		texts = append(texts, text.String())
	}
	fail(json.NewEncoder(os.Stdout).Encode(texts))
}

func merged(messages []*message) []*message {
	turns := []*message{}
	for _, next := range messages {
		last := len(turns) - 1
		if last >= 0 && turns[last].Role == next.Role && next.Role != "tool" {
			turns[last] = &message{next.Role, turns[last].Content + "\n\n" + next.Content}
		} else {
			turns = append(turns, next)
		}
	}
	return turns
}

func fail(err error) {
	if err != nil {
		panic(err)
	}
}
