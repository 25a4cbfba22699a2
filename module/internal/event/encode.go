// SPDX-License-Identifier: GPL-3.0-or-later

package event

import (
	"encoding/json"
	"fmt"

	"submission/module/internal/ascii"
)

// encode returns an event as one line of ASCII JSON.
func encode(e Event) ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode %s event: %w", e.name(), err)
	}
	line := append([]byte(`{"event":"`), e.name()...)
	line = append(line, '"')
	if len(body) > len("{}") {
		line = append(line, ',')
	}
	return append(ascii.JSON(append(line, body[1:]...)), '\n'), nil
}
