package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// requirement is a requirement on a version, in Cargo's syntax: comparators separated by
// commas, which must all hold. A comparator without an operator means ^.
type requirement struct {
	constraint *semver.Constraints
	// releases are the versions whose prereleases are accepted, without the prerelease
	// part: those that the requirement itself names with a prerelease.
	releases []string
}

var comparator = regexp.MustCompile(
	`^(=|>=|>|<=|<|~|\^)?\s*(0|[1-9]\d*)(?:\.(0|[1-9]\d*|[*xX]))?(?:\.(0|[1-9]\d*|[*xX]))?(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

func parseRequirement(s string) (requirement, error) {
	var r requirement
	var parts []string
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if wild(part) && part == strings.TrimSpace(s) {
			parts = append(parts, "*")
			continue
		}
		m := comparator.FindStringSubmatch(part)
		if m == nil {
			return r, fmt.Errorf("is %q, which is no version requirement such as %q", s, "^1.0")
		}
		operator, minor, patch, pre := m[1], m[3], m[4], m[5]
		switch {
		case wild(minor) && patch != "" && !wild(patch):
			return r, fmt.Errorf("is %q, and no number may follow a wildcard", s)
		case pre != "" && (patch == "" || wild(patch)):
			return r, fmt.Errorf("is %q, and only a full version may have a prerelease", s)
		case operator == "" && !wild(minor) && !wild(patch):
			part = "^" + part
		}
		if pre != "" {
			r.releases = append(r.releases, m[2]+"."+minor+"."+patch)
		}
		parts = append(parts, strings.ReplaceAll(part, " ", ""))
	}
	var err error
	if r.constraint, err = semver.NewConstraint(strings.Join(parts, ", ")); err != nil {
		return r, fmt.Errorf("is %q, which is no version requirement: %w", s, err)
	}
	return r, nil
}

func wild(number string) bool { return number == "*" || number == "x" || number == "X" }

// allows reports whether a version meets the requirement.
func (r requirement) allows(v *semver.Version) bool {
	if r.constraint == nil || !r.constraint.Check(v) {
		return false
	}
	if v.Prerelease() == "" {
		return true
	}
	return slices.Contains(r.releases, fmt.Sprintf("%d.%d.%d", v.Major(), v.Minor(), v.Patch()))
}

// parseVersion parses a full semantic version, major.minor.patch.
func parseVersion(s string) (*semver.Version, error) {
	v, err := semver.StrictNewVersion(s)
	if err != nil {
		return nil, errors.New("is " + string(serdejson.AppendString(nil, s)) + `, which is no full semantic version such as "1.0.0"`)
	}
	return v, nil
}
