package capsulehost

import (
	"bytes"
	"strconv"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// This file describes the payload kinds of astrid-types 0.5: what the reference reads of
// each, and how it prints it again. A payload that does not fit its kind is custom.

// shape reads compact JSON as one type of the reference's, and appends it as the
// reference prints it. It returns false if the text is not of that type.
type shape func(out, compact []byte) ([]byte, bool)

// field is a field of a struct.
type field struct {
	name string
	of   shape
	// missing is the text for a field that is not there: "" if it must be there, "-" if
	// it is left out.
	missing string
}

const leftOut = "-"

func required(name string, of shape) field { return field{name: name, of: of} }

// optional is left out if it is null or not there.
func optional(name string, of shape) field { return field{name, orNull(of), leftOut} }

// nullable is printed as null if it is not there.
func nullable(name string, of shape) field { return field{name, orNull(of), "null"} }

func orNull(of shape) shape {
	return func(out, compact []byte) ([]byte, bool) {
		if string(compact) == "null" {
			return append(out, "null"...), true
		}
		return of(out, compact)
	}
}

func anyValue(out, compact []byte) ([]byte, bool) { return append(out, compact...), true }

func anyText(out, compact []byte) ([]byte, bool) {
	return append(out, compact...), compact[0] == '"'
}

func anyFlag(out, compact []byte) ([]byte, bool) {
	return append(out, compact...), compact[0] == 't' || compact[0] == 'f'
}

func anyCount(out, compact []byte) ([]byte, bool) {
	_, err := strconv.ParseUint(string(compact), 10, 64)
	return append(out, compact...), err == nil
}

func anyUUID(out, compact []byte) ([]byte, bool) {
	if compact[0] != '"' {
		return out, false
	}
	id, ok := parseUUID(string(compact[1 : len(compact)-1]))
	return serdejson.AppendString(out, id), ok
}

// listOf is an array.
func listOf(of shape) shape {
	return func(out, compact []byte) (_ []byte, ok bool) {
		if compact[0] != '[' {
			return out, false
		}
		out = append(out, '[')
		first := true
		for element := range serdejson.Elements(compact) {
			if !first {
				out = append(out, ',')
			}
			first = false
			if out, ok = of(out, element); !ok {
				return out, false
			}
		}
		return append(out, ']'), true
	}
}

// structOf is an object with known fields; it may have others.
func structOf(fields ...field) shape { return taggedStruct("", fields...) }

// taggedStruct is an object with a type in front.
func taggedStruct(tag string, fields ...field) shape {
	return func(out, compact []byte) (_ []byte, ok bool) {
		if compact[0] != '{' {
			return out, false
		}
		begin := len(out)
		out = append(out, '{')
		if tag != "" {
			out = serdejson.AppendString(append(out, `"type":`...), tag)
		}
		for _, f := range fields {
			value, there := member(compact, f.name)
			switch {
			case !there && f.missing == "":
				return out, false
			case f.missing == leftOut && (!there || string(value) == "null"):
				continue
			}
			if len(out) > begin+1 {
				out = append(out, ',')
			}
			out = append(serdejson.AppendString(out, f.name), ':')
			if !there {
				out = append(out, f.missing...)
			} else if out, ok = f.of(out, value); !ok {
				return out, false
			}
		}
		return append(out, '}'), true
	}
}

// enumOf is one of some words, or an object with one member, whose name is a word and
// whose value has that shape.
func enumOf(words []string, withValue map[string]shape) shape {
	return func(out, compact []byte) (_ []byte, ok bool) {
		for _, word := range words {
			if string(compact) == `"`+word+`"` || string(compact) == `{"`+word+`":null}` {
				return serdejson.AppendString(out, word), true
			}
		}
		if compact[0] != '{' {
			return out, false
		}
		members := 0
		for key, value := range serdejson.Members(compact) {
			of := withValue[key]
			if members++; members > 1 || of == nil {
				return out, false
			}
			if out, ok = of(append(append(append(out, `{"`...), key...), `":`...), value); !ok {
				return out, false
			}
		}
		return append(out, '}'), members == 1
	}
}

// firstOf is the first of some shapes that fits.
func firstOf(shapes ...shape) shape {
	return func(out, compact []byte) ([]byte, bool) {
		for _, of := range shapes {
			if printed, ok := of(out, compact); ok {
				return printed, true
			}
		}
		return out, false
	}
}

// byType is an object whose member `type` says which shape it has.
func byType(shapes map[string]shape) shape {
	return func(out, compact []byte) ([]byte, bool) {
		tag, ok := member(compact, "type")
		if !ok || tag[0] != '"' {
			return out, false
		}
		of := shapes[string(tag[1:len(tag)-1])]
		if of == nil {
			return out, false
		}
		return of(out, compact)
	}
}

// tagged returns the kinds with a type and fields, by their type.
func tagged() map[string]shape {
	onboardingField := structOf(
		required("key", anyText), required("prompt", anyText), optional("description", anyText),
		required("field_type", enumOf([]string{"Text", "Secret", "Array"}, map[string]shape{"Enum": listOf(anyText)})),
		optional("default", anyText), optional("placeholder", anyText),
	)
	toolCall := structOf(required("id", anyText), required("name", anyText), required("arguments", anyValue))
	toolResult := structOf(required("call_id", anyText), required("content", anyText), field{"is_error", anyFlag, "false"})
	message := structOf(
		required("role", enumOf([]string{"system", "user", "assistant", "tool"}, nil)),
		required("content", firstOf(anyText, listOf(toolCall), toolResult, listOf(byType(map[string]shape{
			"text":  taggedStruct("text", required("text", anyText)),
			"image": taggedStruct("image", required("data", anyText), required("media_type", anyText)),
		})))),
	)
	usage := structOf(required("input_tokens", anyCount), required("output_tokens", anyCount))
	sessionID := field{"session_id", anyText, `"default"`}
	kinds := map[string][]field{
		"user_input":     {required("text", anyText), sessionID, optional("context", anyValue)},
		"agent_response": {required("text", anyText), required("is_final", anyFlag), sessionID},
		"approval_required": {
			required("request_id", anyText), required("action", anyText), required("resource", anyText),
			required("reason", anyText), required("risk_level", anyText),
		},
		"approval_response":   {required("request_id", anyText), required("decision", anyText), optional("reason", anyText)},
		"onboarding_required": {required("capsule_id", anyText), required("fields", listOf(onboardingField))},
		"llm_request": {
			required("request_id", anyUUID), required("model", anyText), required("messages", listOf(message)),
			required("tools", listOf(structOf(
				required("name", anyText), nullable("description", anyText), required("input_schema", anyValue),
			))),
			required("system", anyText),
		},
		"llm_stream_event": {required("request_id", anyUUID), required("event", enumOf([]string{"Done"}, map[string]shape{
			"TextDelta":      anyText,
			"ToolCallStart":  structOf(required("id", anyText), required("name", anyText)),
			"ToolCallDelta":  structOf(required("id", anyText), required("args_delta", anyText)),
			"ToolCallEnd":    structOf(required("id", anyText)),
			"ReasoningDelta": anyText,
			"Usage":          usage,
			"Error":          anyText,
		}))},
		"llm_response": {required("request_id", anyUUID), required("response", structOf(
			required("message", message), required("has_tool_calls", anyFlag),
			required("stop_reason", enumOf([]string{"EndTurn", "MaxTokens", "ToolUse", "StopSequence"}, nil)),
			required("usage", usage),
		))},
		"tool_execute_request": {required("call_id", anyText), required("tool_name", anyText), required("arguments", anyValue)},
		"tool_execute_result":  {required("call_id", anyText), required("result", toolResult)},
		"tool_cancel_request":  {required("call_ids", listOf(anyText))},
		"selection_required": {
			required("request_id", anyText), required("title", anyText),
			required("options", listOf(structOf(required("id", anyText), required("label", anyText), optional("description", anyText)))),
			required("callback_topic", anyText),
		},
		"elicit_request":  {required("request_id", anyUUID), required("capsule_id", anyText), required("field", onboardingField)},
		"elicit_response": {required("request_id", anyUUID), optional("value", anyText), optional("values", listOf(anyText))},
		"connect":         {},
		"disconnect":      {optional("reason", anyText)},
	}
	out := make(map[string]shape, len(kinds))
	for tag, fields := range kinds {
		out[tag] = taggedStruct(tag, fields...)
	}
	return out
}

var taggedKinds = tagged() //nolint:gochecknoglobals // never changed

// shaped returns the payload of a known kind; false if the kind is unknown or the object
// is not of it.
func shaped(tag string, compact []byte) (Payload, bool) {
	switch tag {
	case "custom":
		data, ok := member(compact, "data")
		return Payload{json: bytes.Clone(data)}, ok
	case "raw_json":
		return Payload{payloadRaw, withoutType(compact)}, true
	}
	of := taggedKinds[tag]
	if of == nil {
		return Payload{}, false
	}
	text, ok := of(nil, compact)
	return Payload{payloadTagged, text}, ok
}

// withoutType returns a compact object without its member `type`.
func withoutType(compact []byte) []byte {
	out := append(make([]byte, 0, len(compact)), '{')
	for key, value := range serdejson.Members(compact) {
		if key == "type" {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(append(out, '"'), key...), `":`...), value...)
	}
	return append(out, '}')
}
