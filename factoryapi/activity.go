package factoryapi

import (
	"context"
	"fmt"
	"strings"
)

// maxClients bounds the clients of a day. The reference names three.
const maxClients = 100

// Activity is what the whole organization did on a day.
type Activity struct {
	Day Day
	// Daily, Weekly and Monthly are the users who were active on the day, in the 7 days
	// and in the 30 days that end with it.
	Daily, Weekly, Monthly Number
	// ByClient are the daily active users by client. A user of two clients is in both.
	ByClient map[string]float64
	// Sessions and Messages are those of the day. UserMessages are the messages that
	// users wrote.
	Sessions, Messages, UserMessages Number
}

// Activity returns a row for each of the days that the API knows of, in the API's
// order. Errors are those of ListUsers.
func (c *Client) Activity(ctx context.Context, days Days) ([]Activity, error) {
	return dailyRows(ctx, c, "activity", days, (*walker).activity)
}

func (w *walker) activity(a *Activity) error {
	err := w.fields(func(name string) error {
		switch name {
		case "date":
			a.Day = w.day()
		case "daily_active_users":
			return w.number(&a.Daily)
		case "weekly_active_users":
			return w.number(&a.Weekly)
		case "monthly_active_users":
			return w.number(&a.Monthly)
		case "daily_active_users_by_client":
			a.ByClient = map[string]float64{}
			clients := walker{text: w.skip(), plain: w.plain}
			for client := range clients.members() {
				var users Number
				if err := clients.number(&users); err != nil {
					return err
				}
				if users.Valid {
					a.ByClient[strings.Clone(client)] = users.Value
				}
				if len(a.ByClient) > maxClients {
					return fmt.Errorf("has more than %d clients", maxClients)
				}
			}
		case "sessions":
			return w.number(&a.Sessions)
		case "messages":
			return w.number(&a.Messages)
		case "user_messages":
			return w.number(&a.UserMessages)
		}
		return nil
	})
	if err == nil && a.Day == 0 {
		return errNoDate
	}
	return err
}
