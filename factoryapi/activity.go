package factoryapi

import "context"

// maxClients bounds the clients of a day. The reference names three.
const maxClients = 100

// Activity is what the whole organization did on a day.
type Activity struct {
	// Daily, Weekly and Monthly are the users who were active on the day, in the 7 days
	// and in the 30 days that end with it.
	Daily, Weekly, Monthly Number
	// ByClient are the daily active users by client. A user of two clients is in both.
	ByClient map[string]float64
	// Sessions and Messages are those of the day. UserMessages are the messages that
	// users wrote.
	Sessions, Messages, UserMessages Number
}

// Activity returns the activity of each of the days that the API knows of. Errors are
// those of Pages.
func (c *Client) Activity(ctx context.Context, days Days) (map[Day]Activity, error) {
	return byDay(ctx, c, "activity", days, (*walker).activity)
}

func (w *walker) activity(days Days, a *Activity) (Day, error) {
	return w.dayRow(days, map[string]*Number{
		"daily_active_users": &a.Daily, "weekly_active_users": &a.Weekly, "monthly_active_users": &a.Monthly,
		"sessions": &a.Sessions, "messages": &a.Messages, "user_messages": &a.UserMessages,
	}, func(name string) (err error) {
		if name == "daily_active_users_by_client" {
			a.ByClient, err = w.numbers(maxClients)
		}
		return err
	})
}
