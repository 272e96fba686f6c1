package main

import (
	"errors"
	"os"
	"strings"

	"grantd/templates"
)

// looks reads what the organisation gives the pages, and tries every page out.
func (s *Settings) looks() *templates.Set {
	name, nameFrom := s.get("brand-name")
	logo, logoFrom := s.get("brand-logo")
	color, colorFrom := s.get("brand-color")
	folder, folderFrom := s.get("templates")
	language, languageFrom := s.get("language")
	looks := templates.Looks{Name: name, Color: color, Language: language}
	if logo != "" {
		content, err := os.ReadFile(logo) //nolint:gosec // the operator names it
		if err != nil {
			s.fault(logoFrom.name, "cannot be read: "+err.Error(), "name an SVG or PNG file that grantd may read")
			return nil
		}
		looks.Logo = content
	}
	if folder != "" {
		looks.Folder = os.DirFS(folder)
	}
	set, err := templates.NewWith(looks)
	switch {
	case err == nil:
	case errors.Is(err, templates.ErrName):
		s.fault(nameFrom.name, err.Error(), "write the name as people know it")
	case errors.Is(err, templates.ErrLanguage):
		s.fault(languageFrom.name, err.Error(), "write "+strings.Join(templates.Languages, ", ")+"; browsers that prefer another of them have it anyway")
	case errors.Is(err, templates.ErrLogo):
		s.fault(logoFrom.name, err.Error(), "save the logo as SVG or PNG")
	case errors.Is(err, templates.ErrColor):
		s.fault(colorFrom.name, err.Error(), "write # and six hexadecimal digits")
	default:
		s.fault(folderFrom.name, "has a page that cannot be shown: "+err.Error(), "mend the file, or remove it to have the built-in page; docs/looks.md says what each page is given")
	}
	return set
}
