package census_test

import (
	"testing"

	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
)

func TestRosterSince(t *testing.T) {
	for _, tt := range []struct {
		name           string
		earlier, later []string
		joined, left   int
	}{
		{"nobody, ever", nil, nil, 0, 0},
		{"all stayed, in another order", []string{"a", "b", "c"}, []string{"c", "a", "b"}, 0, 0},
		{"all came", nil, []string{"a", "b"}, 2, 0},
		{"all went", []string{"a", "b"}, nil, 0, 2},
		{"somebody came", []string{"a"}, []string{"a", "b"}, 1, 0},
		{"somebody went", []string{"a", "b"}, []string{"b"}, 0, 1},
		{"one for another", []string{"a", "b"}, []string{"b", "c"}, 1, 1},
		{"all were replaced", []string{"a", "b"}, []string{"c", "d", "e"}, 3, 2},
		{"ids differ by case", []string{"a"}, []string{"A"}, 1, 1},
		{"listed twice is one member", []string{"a", "a", "b"}, []string{"b", "c", "c"}, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			earlier := counted(census.Config{}, nil, members(tt.earlier)...).Roster()
			if joined, left := counted(census.Config{}, earlier, members(tt.later)...).Since(); joined != tt.joined || left != tt.left {
				t.Errorf("%d joined, %d left; want %d, %d", joined, left, tt.joined, tt.left)
			}
		})
	}
}

func members(ids []string) []factoryapi.User {
	users := make([]factoryapi.User, len(ids))
	for i, id := range ids {
		users[i].ID = id
	}
	return users
}
